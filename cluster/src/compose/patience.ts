/**
 * A start that needs others: a worker its coordinator, a coordinator in a tailnet its Tailscale. Machines are switched on in
 * any order, and networks come up when they like: what passes by itself is waited for, and told.
 *
 * J1. Only what may pass by itself is waited for, by the table of errors. A wrong address, a refused token or an id that is
 *     another's ends the start at once; so does `internal`, a fault of ours, which mostly comes again.
 * J2. Each try has TRY_MS, whatever it hangs on, and the pauses between grow up to PAUSE_MS_MAX, half of each by chance, so that
 *     a room full of machines does not come at once. A coordinator that asks for patience gets it, for
 *     a minute at most: whoever answers at its address for a moment must not have the last word.
 * J3. What is told: the first failure, each new reason, and of the same one the 2nd, 4th, 8th …, so that days fill no log.
 * J4. The wait ends at once with `signal`.
 */
import { setTimeout as delay } from "node:timers/promises";
import { ClusterError } from "@openclaw-cluster/contract/errors";
import type { Log } from "../system/log.ts";

const TRY_MS = 15_000;
const PAUSE_MS = 500;
const PAUSE_MS_MAX = 10_000;
const ASKED_MS_MAX = 60_000;

export interface PatienceParts {
  /** Who is waited for, for people: `the coordinator at http://studio:8888`. */
  readonly whom: string;
  readonly signal: AbortSignal;
  readonly log: Log;
  readonly tell: (text: string) => void;
  readonly random: () => number;
  /** The time that passes, unless a test has its own. */
  readonly pause?: (ms: number, signal: AbortSignal) => Promise<unknown>;
}

/** What `attempt` gives, once it does. Throws what does not pass by itself, and the reason of `signal`. */
export async function waitPatiently<T>(parts: PatienceParts, attempt: (signal: AbortSignal) => Promise<T>): Promise<T> {
  const { whom, signal, log, tell, random, pause = pauseUnless } = parts;
  let told = { why: "", tried: 0 };
  for (let tried = 1; ; tried += 1) {
    signal.throwIfAborted();
    try {
      const found = await within(TRY_MS, signal, attempt);
      if (tried > 1) tell(`${whom} is there`);
      return found;
    } catch (error) {
      signal.throwIfAborted();
      if (!(error instanceof ClusterError) || !error.row.retryable || error.code === "internal") throw error;
      const why = `${error.detail.replace(/\.$/, "")} (${error.code})`;
      if (why !== told.why || tried >= 2 * told.tried) {
        told = { why, tried };
        tell(`waiting for ${whom}, tried ${tried === 1 ? "once" : `${tried} times`}: ${why}`);
        log.warn({ whom, tried, err: error }, "waiting, as others are not there yet");
      }
      await pause(pauseMs(tried, random, error.retryAfterMs), signal);
    }
  }
}

function pauseUnless(ms: number, ended: AbortSignal): Promise<void> {
  return delay(ms, undefined, { signal: ended }).catch(() => ended.throwIfAborted());
}

function pauseMs(tried: number, random: () => number, afterMs = 0): number {
  const whole = Math.min(PAUSE_MS * 2 ** Math.min(tried - 1, 10), PAUSE_MS_MAX);
  return Math.max(Math.min(afterMs, ASKED_MS_MAX), whole / 2) + (whole / 2) * random();
}

/** Ends when the time is over or the signal says so, whatever the attempt does then. */
async function within<T>(ms: number, signal: AbortSignal, attempt: (signal: AbortSignal) => Promise<T>): Promise<T> {
  const late = new AbortController();
  const ended = Promise.withResolvers<never>();
  const end = (error: unknown): void => {
    late.abort(error);
    ended.reject(error);
  };
  const timer = setTimeout(() => end(new ClusterError("coordinator_unreachable", `no answer within ${ms / 1_000} s`)), ms);
  const stop = (): void => end(signal.reason);
  signal.addEventListener("abort", stop);
  try {
    return await Promise.race([attempt(late.signal), ended.promise]);
  } finally {
    clearTimeout(timer);
    signal.removeEventListener("abort", stop);
  }
}
