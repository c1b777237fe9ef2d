/**
 * The executor for probes, drills and benchmarks: gives its input back, after a while if asked. It prints nothing, and
 * without `delayMs` it sets no timer and makes no listener: 50,000 of these pass one worker in a second.
 */
import type { EchoInput } from "@openclaw-cluster/contract/task-spec";
import type { Outcome } from "@openclaw-cluster/contract/wire";
import type { Clock } from "../system/clock.ts";
import type { Executor } from "./executors.ts";

export function echoExecutor(parts: { clock: Clock }): Executor<"echo"> {
  return {
    kind: "echo",
    resumable: false,
    run({ input }, execution) {
      return input.delayMs === undefined ? Promise.resolve(end(input)) : endAfter(parts.clock, input.delayMs, input, execution.signal);
    },
  };
}

function end(input: EchoInput): Outcome {
  if (input.fail) return { kind: "failed", error: { code: "agent_failed", message: "The echo was asked to fail." } };
  return { kind: "succeeded", result: input.value ?? null };
}

function endAfter(clock: Clock, delayMs: number, input: EchoInput, signal: AbortSignal): Promise<Outcome> {
  return new Promise((resolve) => {
    if (signal.aborted) return resolve({ kind: "cancelled" });
    const timer = clock.after(delayMs, () => {
      signal.removeEventListener("abort", stop);
      resolve(end(input));
    });
    const stop = (): void => {
      timer.cancel();
      resolve({ kind: "cancelled" });
    };
    signal.addEventListener("abort", stop, { once: true });
  });
}
