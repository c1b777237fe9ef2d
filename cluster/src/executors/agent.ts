/**
 * The executor for agent turns: one turn in this machine's OpenClaw Gateway. The run id is made of the attempt's own
 * names, so that the same attempt, taken up after the worker's restart, finds the same run again.
 *
 * T1. The node's policy is asked when the turn is begun, and when one that an earlier life began is found running (X4).
 * T2. What began in an earlier life and is not allowed any more ends as interrupted, not as refused: it may have acted.
 */
import { ClusterError } from "@openclaw-cluster/contract/errors";
import type { Json } from "@openclaw-cluster/contract/json";
import type { TaskSpec } from "@openclaw-cluster/contract/task-spec";
import type { Outcome } from "@openclaw-cluster/contract/wire";
import { runMsOf } from "../core/timeouts.ts";
import type { Gateway, TurnEnd, TurnEvent, TurnStep } from "../openclaw/openclaw.ts";
import { failedWith, refusedByPolicy, type Execution, type Executor } from "./executors.ts";
import { ask, type PolicyParts } from "./permit.ts";
import { chooseSession } from "./session.ts";

type Spec = Extract<TaskSpec, { kind: "agent" }>;

/** The worker's own time-out comes first; this one holds where it does not. */
const RUN_MARGIN_MS = 5_000;

export function agentExecutor(parts: PolicyParts & { gateway: Gateway }): Executor<"agent"> {
  return {
    kind: "agent",
    resumable: true,
    async run(spec, execution) {
      try {
        return await takeTurn(parts, spec, execution);
      } catch (error) {
        if (execution.signal.aborted) return { kind: "cancelled" };
        if (error instanceof ClusterError) return failedWith(error);
        throw error;
      }
    },
  };
}

async function takeTurn({ gateway, ...rules }: PolicyParts & { gateway: Gateway }, spec: Spec, execution: Execution): Promise<Outcome> {
  const { input } = spec;
  const runId = runIdOf(execution);
  const { agent, sessionKey } = chooseSession(gateway, input, execution);
  const printed = new Printer(execution);
  const turn = {
    runId,
    agent,
    sessionKey,
    message:
      input.skill === undefined
        ? input.message
        : `Use the skill "${input.skill}" for this: read it first, then do as it says.\n\n${input.message}`,
    ...(input.model !== undefined && { model: input.model }),
    ...(input.thinking !== undefined && { thinking: input.thinking }),
    timeoutMs: runMsOf(spec) + RUN_MARGIN_MS,
    permit: (step: TurnStep) => ask(rules, execution, step),
  };
  const end = await gateway.turn(turn, execution.signal, (event) => printed.take(event));
  // After an abort nobody reads the rest, and a stop must not wait for a slow bus.
  if (!execution.signal.aborted) {
    await printed.done();
    if (end.kind === "denied" && end.ran) await execution.output("note", `This node's policy: ${end.reason}. The turn is stopped.\n`);
  }
  return outcomeOf(end, runId, execution);
}

/** Cluster and epoch keep apart what two coordinators, or two terms of one, call by the same number. */
function runIdOf({ cluster, offer }: Execution): string {
  return `ocx-${cluster}-${offer.task}-a${offer.attempt}-e${offer.epoch}`;
}

function outcomeOf(end: TurnEnd, runId: string, { signal, resumed = false }: Execution): Outcome {
  switch (end.kind) {
    case "done": {
      const { model, provider, sessionKey, toolCalls, usage } = end.meta;
      const known = {
        ...(model !== undefined && { model }),
        ...(provider !== undefined && { provider }),
        ...(usage !== undefined && { usage }),
      };
      return { kind: "succeeded", result: { text: end.text, ...known, sessionKey, runId, toolCalls: toolCalls ?? 0 } };
    }
    case "aborted":
      if (signal.aborted) return { kind: "cancelled" };
      return { kind: "failed", error: { code: "agent_failed", message: "Somebody stopped the turn in OpenClaw." } };
    case "denied":
      return end.ran || resumed ? { kind: "cancelled", cause: "policy" } : refusedByPolicy(end.reason);
    case "failed":
      return {
        kind: "failed",
        error: { code: end.code, message: end.message, ...(end.reason !== undefined && { data: { reason: end.reason } }) },
        ...(end.retryAfterMs !== undefined && { retryAfterMs: end.retryAfterMs }),
      };
  }
}

interface Piece {
  readonly stream: "assistant" | "tool";
  text: string;
  readonly data?: Json;
}

/** Prints the turn's events in their order, one at a time; words that come while it waits for room go out in one piece. */
class Printer {
  readonly #execution: Execution;
  readonly #pieces: Piece[] = [];
  #printing: Promise<void> | undefined;

  constructor(execution: Execution) {
    this.#execution = execution;
  }

  take(event: TurnEvent): void {
    const last = this.#pieces.at(-1);
    if (event.kind === "tool") this.#pieces.push(this.#told(event));
    else if (last?.stream === "assistant") last.text += event.delta;
    else this.#pieces.push({ stream: "assistant", text: event.delta });
    this.#printing ??= this.#print();
    // `done` tells what went wrong; until then it is nobody's.
    this.#printing.catch(() => undefined);
  }

  /** Throws what printing threw. */
  async done(): Promise<void> {
    await this.#printing;
  }

  #told({ phase, name, callId, data }: Extract<TurnEvent, { kind: "tool" }>): Piece {
    if (phase === "start") this.#execution.acted();
    const told: Json = { phase, name, callId, ...(data !== undefined && { data }) };
    return { stream: "tool", text: `${phase === "start" ? "→" : "←"} ${name}\n`, data: told };
  }

  async #print(): Promise<void> {
    for (let piece = this.#pieces.shift(); piece !== undefined; piece = this.#pieces.shift()) {
      await this.#execution.output(piece.stream, piece.text, piece.data);
    }
    this.#printing = undefined;
  }
}
