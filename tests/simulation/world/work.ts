/**
 * What the tasks of a simulated run do: nothing but to take time, and then to end as their plan says. The result names the
 * attempt and the node that made it, so that the checker knows whose it is.
 */
import type { Json } from "@openclaw-cluster/contract/json";
import type { TaskSpec } from "@openclaw-cluster/contract/task-spec";
import type { Outcome } from "@openclaw-cluster/contract/wire";
import type { Execution, Executor } from "../../../cluster/src/executors/executors.ts";
import { STOP_MS } from "../../../cluster/src/executors/executors.ts";
import type { Chance } from "./chance.ts";

export interface Plan {
  readonly ms: number;
  readonly fails: boolean;
  /** An agent's turn calls a tool after this long. */
  readonly actsAtMs?: number;
}

/** A plan travels as the input of a task of any kind. */
export function specOf(kind: "echo" | "command" | "agent", plan: Plan): Pick<TaskSpec, "kind" | "input"> {
  switch (kind) {
    case "echo":
      return { kind, input: { value: plan as unknown as Json, delayMs: Math.ceil(plan.ms) } };
    case "command":
      return { kind, input: { argv: ["work", JSON.stringify(plan)] } };
    case "agent":
      return { kind, input: { message: JSON.stringify(plan) } };
  }
}

export function planOf(spec: TaskSpec): Plan {
  switch (spec.kind) {
    case "echo":
      return spec.input.value as unknown as Plan;
    case "command":
      return JSON.parse(spec.input.argv[1] as string) as Plan;
    case "agent":
      return JSON.parse(spec.input.message) as Plan;
    case "tool":
    case "model":
      throw new Error(`no ${spec.kind} is ever submitted here`);
  }
}

/** What the executor needs of its machine. */
export interface Workbench {
  readonly chance: Chance;
  /** After so much of the time in which the work goes on: the process's, or for an agent its Gateway's. */
  passes(ms: number): Promise<void>;
  /** It begins, or is taken up again; `end` is called once. `remaining`: of the plan's time. */
  begin(execution: Execution): { readonly remainingMs: number; end(): void };
}

export function workExecutor(kind: "echo" | "command" | "agent", bench: Workbench): Executor {
  return {
    kind,
    resumable: kind === "agent",
    async run(spec, execution): Promise<Outcome> {
      const plan = planOf(spec);
      const { remainingMs, end } = bench.begin(execution);
      const over = Promise.withResolvers<Outcome>();
      void bench.passes(remainingMs).then(() => over.resolve(outcomeOf(plan, execution)));
      if (plan.actsAtMs !== undefined) void bench.passes(remainingMs - plan.ms + plan.actsAtMs).then(() => execution.acted());
      execution.signal.addEventListener("abort", () => {
        void bench.passes(bench.chance.between(0, STOP_MS)).then(() => over.resolve({ kind: "cancelled" }));
      });
      const outcome = await over.promise;
      end();
      return outcome;
    },
  };
}

function outcomeOf({ fails }: Plan, { offer, node }: Execution): Outcome {
  if (fails) return { kind: "failed", error: { code: "agent_failed", message: "as planned" } };
  return { kind: "succeeded", result: { attempt: offer.attempt, node } };
}
