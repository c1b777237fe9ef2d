/**
 * When to try again, and when not. A request is repeated only when that is safe: a read, a submit with its
 * Idempotency-Key, or anything that surely was not carried out.
 */
import { z } from "zod";
import { ClusterError, ERRORS, Problem, type ErrorCode } from "../errors.ts";
import { ConnectionBroken } from "./transport.ts";

export const RETRY = {
  /** With the pauses below: about half a minute, which outlasts a restart of the coordinator. */
  attemptsMax: 10,
  /** A coordinator that has never answered is most likely not running, and a fault of its own mostly comes again. */
  attemptsShortMax: 3,
  firstMs: 100,
  capMs: 5_000,
  /** A longer Retry-After is not waited for, only repeated to the caller. */
  retryAfterMaxMs: 30_000,
} as const;

export interface Retrying {
  readonly attemptsMax: number;
  readonly capMs: number;
  /** No attempt begins later than this after the first. */
  readonly withinMs?: number;
  /** Whoever says unavailable does not know how soon another one serves: what it says of when to ask again is passed over. */
  readonly othersMayServe?: true;
}

/**
 * With several addresses (addresses.ts), each of which is asked in one attempt: about as long, which outlasts a change of the
 * leader, but in shorter steps, because that is over within seconds and is not one machine's start. Where all of them hang, one
 * attempt alone takes the patience of a call at each.
 */
export const RETRY_MANY: Retrying = { attemptsMax: 100, capMs: 1_000, withinMs: 60_000, othersMayServe: true };

/** Answers that say: nothing was done. */
const NOT_DONE: ReadonlySet<ErrorCode> = new Set<ErrorCode>(["overloaded", "unavailable"]);

export interface RetryOptions {
  /** Doing it twice is as good as once. */
  readonly safe: boolean;
  readonly signal: AbortSignal | undefined;
  /** The client's: when it was closed, and whether the coordinator has ever answered it. */
  readonly line: Tried & { readonly closed: AbortSignal };
}

interface Tried {
  readonly heard: boolean;
  readonly retry?: Retrying;
}

/** Tries until it succeeds, may not be repeated, or the attempts are spent. */
export async function withRetry<T>({ safe, signal, line }: RetryOptions, attempt: () => Promise<T>): Promise<T> {
  const begunAt = performance.now();
  for (let tried = 1; ; tried++) {
    try {
      return await attempt();
    } catch (thrown) {
      signal?.throwIfAborted();
      if (line.closed.aborted) throw new ClusterError("coordinator_unreachable", "This client is closed.", { cause: thrown });
      const error = asClusterError(thrown);
      if (!mayRepeat(error, safe) || areSpent(tried, error, line, performance.now() - begunAt)) throw error;
      await pause(pauseMs(tried, error, line.retry), signal === undefined ? line.closed : AbortSignal.any([line.closed, signal]));
    }
  }
}

export function mayRepeat(error: ClusterError, safe: boolean): boolean {
  if ((error.retryAfterMs ?? 0) > RETRY.retryAfterMaxMs) return false;
  if (safe) return error.row.retryable;
  return NOT_DONE.has(error.code) || (error.cause instanceof ConnectionBroken && !error.cause.sent);
}

/** `forMs`: since the first attempt. */
export function areSpent(tried: number, error: ClusterError, { heard, retry = RETRY }: Tried, forMs: number): boolean {
  return (
    forMs > (retry.withinMs ?? Number.POSITIVE_INFINITY) ||
    tried >= (heard && error.code !== "internal" ? retry.attemptsMax : RETRY.attemptsShortMax)
  );
}

/**
 * Doubles each time, half of it by chance, so that many clients do not come back together. After a Retry-After all of them
 * would: so that is waited for whole, and then up to as long again.
 */
export function pauseMs(tried: number, error: ClusterError, { capMs, othersMayServe }: Retrying = RETRY): number {
  const whole = Math.min(capMs, RETRY.firstMs * 2 ** (tried - 1));
  const afterMs = othersMayServe === true && error.code === "unavailable" ? undefined : error.retryAfterMs;
  return afterMs === undefined ? whole * (0.5 + Math.random() / 2) : afterMs + Math.max(afterMs, whole) * Math.random();
}

/** Ends early, without an error, when the signal aborts. */
export function pause(ms: number, signal: AbortSignal | undefined): Promise<void> {
  return new Promise((resolve) => {
    const over = (): void => {
      clearTimeout(timer);
      signal?.removeEventListener("abort", over);
      resolve();
    };
    const timer = setTimeout(over, ms);
    signal?.addEventListener("abort", over);
    if (signal?.aborted === true) over();
  });
}

export function asClusterError(thrown: unknown): ClusterError {
  if (thrown instanceof ClusterError) return thrown;
  const detail = thrown instanceof Error ? thrown.message : String(thrown);
  return new ClusterError("coordinator_unreachable", `The coordinator does not answer: ${detail}.`, { cause: thrown });
}

/** OpenAI's shape of an error, in which requests for models are refused. Ours has a code of the table; a model's server has its own. */
const Refused = z.object({ error: z.object({ message: z.string(), code: z.unknown() }) });

/** The error that an answer tells of. Whatever is no problem of ours came from something in between, or from a model's server. */
export function errorFrom(status: number, text: string, retryAfter: string | undefined): ClusterError {
  const seconds = Number(retryAfter);
  const options = retryAfter !== undefined && Number.isFinite(seconds) ? { retryAfterMs: seconds * 1_000 } : {};
  const told = parseOrUndefined(text);
  const problem = Problem.safeParse(told);
  if (problem.success) {
    const { code, detail, proof } = problem.data;
    return new ClusterError(code, detail, { ...options, ...(proof !== undefined && { proof }) });
  }
  const byStatus = (Object.keys(ERRORS) as ErrorCode[]).find((code) => ERRORS[code].status === status);
  const likely = status >= 500 ? "unavailable" : (byStatus ?? "bad_request");
  const refused = Refused.safeParse(told);
  if (refused.success) {
    const { code, message } = refused.data.error;
    return new ClusterError(isCode(code) ? code : likely, message, options);
  }
  return new ClusterError(likely, `The answer has status ${status} and is not from a coordinator.`, options);
}

const isCode = (code: unknown): code is ErrorCode => typeof code === "string" && Object.hasOwn(ERRORS, code);

export function parseOrUndefined(text: string): unknown {
  try {
    return JSON.parse(text) as unknown;
  } catch {
    return undefined;
  }
}
