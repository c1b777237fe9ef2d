/**
 * Ties tasks of kind `model` to what this node lends: what of it is told among the node's facts, and how a task asks.
 *
 * T1. What costs money is neither told nor asked.
 * T2. A listener hears of a list that differs: a server tells every few seconds how busy it is, and facts are not gathered for that.
 */
import { ClusterError, type ErrorCode } from "@openclaw-cluster/contract/errors";
import type { NodeId } from "@openclaw-cluster/contract/ids";
import { LentHere } from "@openclaw-cluster/contract/node";
import { decide, type PolicySource } from "../core/policy.ts";
import type { LentModels, ModelReply } from "../executors/model.ts";
import type { LendingRule } from "../models/lending.ts";
import { readWhole } from "../models/line-body.ts";
import { ModelFault, RouteRefusal, type ModelFaultKind, type ModelRouter, type ModelShelf } from "../models/models.ts";
import { jsonOf } from "../system/json-of.ts";

/** As much as the router takes of an answer that comes in one piece. */
const ANSWER_BYTES_MAX = 32 * 1024 * 1024;
const ANY_MODEL = { kind: "model", input: { prompt: "hello" } } as const;

export interface ModelTasks extends LentModels {
  /** For the node's facts; undefined: its policy lends nothing to anybody. */
  told(): LentHere[] | undefined;
  /** T2. */
  onChange(listener: () => void): { stop(): void };
}

export interface ModelTaskParts {
  readonly node: NodeId;
  readonly router: Pick<ModelRouter, "answer">;
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
      const at = path === "chat" ? "/chat/completions" : "/embeddings";
      try {
        // Whoever leads goes by the node that asks; for whom it is, the executor has asked the policy.
        const asker = { token: node, name: `node:${node}` };
        const answer = await router.answer({ path: at, body, asker, lane: "batch", on: node }, signal);
        const said = await readWhole(answer.body, ANSWER_BYTES_MAX);
        return { status: answer.status, json: jsonOf(said), model: answer.model };
      } catch (error) {
        throw asClusterError(error);
      }
    },
  };
}

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
/** The router leaves a place alone that failed again and again: nobody was asked. */
const LEFT_ALONE = 503;

function asClusterError(error: unknown): unknown {
  if (error instanceof ModelFault) return new ClusterError(OF_FAULTS[error.kind], error.message, { cause: error });
  if (!(error instanceof RouteRefusal)) return error;
  const { code, status, message, retryAfterMs } = error;
  const known = status === LEFT_ALONE && code === "node_lost" ? "model_unavailable" : OF_REFUSALS[code];
  return new ClusterError(known ?? (status >= 500 ? "model_failed" : "model_refused"), message, {
    cause: error,
    ...(retryAfterMs !== undefined && { retryAfterMs }),
  });
}
