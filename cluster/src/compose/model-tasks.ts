/**
 * Ties tasks of kind `model` to what this node lends: what of it is told among the node's facts, and how a task asks.
 *
 * T1. What costs money is neither told nor asked.
 * T2. Of a place that is left alone because it failed again and again, of a model that whoever leads does not see there, and while there is
 *     no line, it is told that nobody was asked: another node may do at once.
 * T3. A listener hears of a list that differs: a server tells every few seconds how busy it is, and facts are not gathered for that.
 */
import { ClusterError, type ErrorCode } from "@openclaw-cluster/contract/errors";
import type { NodeId } from "@openclaw-cluster/contract/ids";
import { LentHere } from "@openclaw-cluster/contract/node";
import { decide, type PolicySource } from "../core/policy.ts";
import type { LentModels, ModelReply } from "../executors/model.ts";
import type { LendingRule } from "../models/lines/lending.ts";
import { readWhole } from "../models/lines/line-body.ts";
import { ModelFault, RouteRefusal, type ModelFaultKind, type ModelShelf } from "../models/models.ts";
import type { NodeRouter } from "../models/routing/node-router.ts";
import { jsonOf } from "../system/json-of.ts";

/** As much as the router takes of an answer that comes in one piece. */
const ANSWER_BYTES_MAX = 32 * 1024 * 1024;
const ANY_MODEL = { kind: "model", input: { prompt: "hello" } } as const;

export interface ModelTasks extends LentModels {
  /** For the node's facts; undefined: its policy lends nothing to anybody. */
  told(): LentHere[] | undefined;
  /** T3. */
  onChange(listener: () => void): { stop(): void };
}

export interface ModelTaskParts {
  readonly node: NodeId;
  readonly router: Pick<NodeRouter, "answer" | "cluster">;
  readonly shelf: Pick<ModelShelf, "models" | "onChange">;
  readonly rule: Pick<LendingRule, "lends" | "onChange">;
  readonly policy: PolicySource;
}

export function openModelTasks({ node, router, shelf, rule, policy }: ModelTaskParts): ModelTasks {
  const models = (): LentHere[] => {
    const lent = shelf.models.filter((model) => model.paid !== true && rule.lends(model)).map((model) => LentHere.parse(model));
    // Two of its servers may have the same one.
    return [...new Map(lent.map((model) => [JSON.stringify(model), model])).values()];
  };
  const told = (): LentHere[] | undefined => (decide(policy.current(), ANY_MODEL).allow ? models() : undefined);
  return {
    models,
    told,
    onChange(listener) {
      let last = JSON.stringify(told());
      const look = (): void => {
        const now = JSON.stringify(told());
        if (now === last) return;
        last = now;
        listener();
      };
      const listening = [shelf.onChange(look), rule.onChange(look)];
      return { stop: () => listening.forEach((one) => one.stop()) };
    },
    async ask({ path, body }, signal): Promise<ModelReply> {
      if (router.cluster === undefined) return unasked("There is no line to the control node that leads.");
      const at = path === "chat" ? "/chat/completions" : "/embeddings";
      try {
        // Whoever leads goes by the node that asks; for whom it is, the executor has asked the policy.
        const asker = { token: node, name: `node:${node}` };
        const answer = await router.answer({ path: at, body, asker, lane: "batch", on: node }, signal);
        const said = await readWhole(answer.body, ANSWER_BYTES_MAX);
        return { kind: "answered", status: answer.status, json: jsonOf(said), model: answer.model };
      } catch (error) {
        if (error instanceof RouteRefusal && isUnasked(error)) return unasked(error.message);
        throw asClusterError(error);
      }
    },
  };
}

const unasked = (reason: string): ModelReply => ({ kind: "unasked", reason });
/** With this status the router says of a place that it is left alone. */
const LEFT_ALONE = 503;

/** T2. */
const isUnasked = ({ code, status, attempts }: RouteRefusal): boolean =>
  (code === "model_not_found" && attempts === 0) || (code === "node_lost" && status === LEFT_ALONE);

/** The router's words in those of tasks; what has none here is judged by its status. */
const OF_REFUSALS: Readonly<Record<string, ErrorCode>> = {
  model_not_found: "model_unavailable",
  context_length_exceeded: "model_refused",
  unsupported: "model_refused",
  bad_request: "model_refused",
  policy_denied: "policy_denied",
  overloaded: "throttled",
  node_lost: "model_failed",
};
const OF_FAULTS: Readonly<Record<ModelFaultKind, ErrorCode>> = {
  unreachable: "model_unavailable",
  unknown_model: "model_unavailable",
  silent: "model_failed",
  garbage: "model_failed",
  too_large: "result_too_large",
  crowded: "throttled",
  unsupported: "model_refused",
};
function asClusterError(error: unknown): unknown {
  if (error instanceof ModelFault) return new ClusterError(OF_FAULTS[error.kind], error.message, { cause: error });
  if (!(error instanceof RouteRefusal)) return error;
  const { code, status, message, retryAfterMs } = error;
  return new ClusterError(OF_REFUSALS[code] ?? (status >= 500 ? "model_failed" : "model_refused"), message, {
    cause: error,
    ...(retryAfterMs !== undefined && { retryAfterMs }),
  });
}
