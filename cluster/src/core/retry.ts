/**
 * When a failed attempt is tried again. Full jitter (a random pause between nothing and the doubled limit) after
 * M. Brooker, "Exponential Backoff And Jitter", AWS Architecture Blog 2015: of the variants measured there it
 * spreads retries best.
 */
import { ERRORS, type ErrorCode } from "@openclaw-cluster/contract/errors";
import type { Retry } from "@openclaw-cluster/contract/task-spec";

export const RETRIES_DEFAULT = 2;
export const BACKOFF_MS_DEFAULT = 2_000;
/** No pause grows beyond this. */
export const BACKOFF_MS_MAX = 300_000;

/** May an attempt that ended with `code` be tried again, after `failures` attempts that failed, this one included? */
export function mayRetry(retry: Retry | undefined, code: ErrorCode, failures: number): boolean {
  return ERRORS[code].retryable && failures <= (retry?.max ?? RETRIES_DEFAULT);
}

/** The pause before the next attempt, in ms; never shorter than what the failing side asked for. `random` is in 0…1. */
export function backoffMs(retry: Retry | undefined, failures: number, random: number, retryAfterMs = 0): number {
  const limit = Math.min(BACKOFF_MS_MAX, (retry?.backoffMs ?? BACKOFF_MS_DEFAULT) * 2 ** (failures - 1));
  return Math.max(retryAfterMs, Math.round(random * limit));
}
