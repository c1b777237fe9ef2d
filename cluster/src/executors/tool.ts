/** The executor for one call of an OpenClaw tool, without a model. Its result is the tool's output. */
import { ClusterError } from "@openclaw-cluster/contract/errors";
import type { Gateway } from "../openclaw/openclaw.ts";
import { failedWith, refusedByPolicy, type Executor } from "./executors.ts";
import { ask, type PolicyParts } from "./permit.ts";
import { chooseSession } from "./session.ts";

export function toolExecutor(parts: PolicyParts & { gateway: Gateway }): Executor<"tool"> {
  return {
    kind: "tool",
    resumable: false,
    async run({ input }, execution) {
      const { signal, offer, cluster } = execution;
      try {
        const reason = ask(parts, execution);
        if (reason !== undefined) return refusedByPolicy(reason);
        // Without a session OpenClaw would take the one of the machine's owner.
        const where = chooseSession(parts.gateway, input, execution);
        const idempotencyKey = `ocx-${cluster}-${offer.task}-a${offer.attempt}-e${offer.epoch}`;
        // A tool may act outside, and nobody can tell which ones do.
        execution.acted();
        const result = await parts.gateway.invokeTool({ tool: input.tool, args: input.args ?? {}, ...where, idempotencyKey }, signal);
        return { kind: "succeeded", result };
      } catch (error) {
        if (signal.aborted) return { kind: "cancelled" };
        if (error instanceof ClusterError) return failedWith(error);
        throw error;
      }
    },
  };
}
