/**
 * What follows from an attempt that failed, by the class of its error. Full jitter (a random pause between nothing and
 * the doubled limit) after M. Brooker, "Exponential Backoff And Jitter", AWS Architecture Blog 2015: of the variants
 * measured there it spreads retries best.
 *
 * B1. Every class that tries again has a limit of its own: a task is never tried for ever.
 * B2. Only a transient failure spends a retry. Infrastructure that failed counts with the lost nodes, and leaves as
 *     unknown as they do how far the attempt came: what follows is as `onLost` says.
 * B3. The same failure on two nodes is the end, whatever is left (failure.ts says which count).
 * B4. Where the attempt has acted, or somebody must change something first, nothing is tried again by itself.
 */
import { ERRORS, type ErrorClass, type ErrorCode } from "@openclaw-cluster/contract/errors";
import { LIMITS } from "@openclaw-cluster/contract/limits";
import type { Reason } from "@openclaw-cluster/contract/task";
import type { OnLost, Retry } from "@openclaw-cluster/contract/task-spec";
import type { Outcome } from "@openclaw-cluster/contract/wire";
import { isPoison, type Failure } from "./failure.ts";
import type { TaskRecord } from "./task.ts";

export const RETRIES_DEFAULT = 2;
export const BACKOFF_MS_DEFAULT = 2_000;
/** A provider that wants less is not asked again after two seconds. */
export const THROTTLED_BACKOFF_MS = 15_000;
/** No random pause grows beyond this. */
export const BACKOFF_MS_MAX = 300_000;
/** What is asked for with Retry-After is believed up to here: a broken provider must not park a task for a year. */
export const RETRY_AFTER_MS_MAX = 3_600_000;

export type Course =
  | { readonly kind: "again"; readonly pauseMs: number }
  | { readonly kind: "ask" }
  | { readonly kind: "over"; readonly reason: Reason };

/** The course, and the counters that the attempt has raised. */
export interface Judgement {
  readonly course: Course;
  readonly counts: Partial<Pick<TaskRecord, "failures" | "losses" | "throttles">>;
}

type Failed = Extract<Outcome, { kind: "failed" }>;

/** `random` is in 0…1. */
export function judge(task: TaskRecord, { error, retryAfterMs }: Failed, failure: Failure, random: number): Judgement {
  const { spec, acted } = task;
  const errorClass = classOf(spec.retry, error.code);
  const counts = countsAfter(task, errorClass);
  const over = (reason: Reason): Judgement => ({ counts, course: { kind: "over", reason } });
  const again = (baseMs: number, nth: number): Judgement => ({
    counts,
    course: { kind: "again", pauseMs: pauseMs(baseMs, nth, random, retryAfterMs) },
  });
  const backoff = spec.retry?.backoffMs ?? BACKOFF_MS_DEFAULT;
  const { failures = 0, losses = 0, throttles = 0 } = counts;
  if (isPoison(task.lastFailure, failure, error.code)) return over("poison");
  switch (errorClass) {
    case "infrastructure": {
      const course = courseAfterLoss(task, losses);
      return course.kind === "again" ? again(backoff, losses) : { counts, course };
    }
    case "throttled":
      if (acted) return over("not_retryable");
      return throttles > LIMITS.throttlesMax ? over("attempts_spent") : again(THROTTLED_BACKOFF_MS, throttles);
    case "transient":
      if (acted) return over("not_retryable");
      return failures > (spec.retry?.max ?? RETRIES_DEFAULT) ? over("attempts_spent") : again(backoff, failures);
    case "permanent":
    case "policy":
      return over("not_retryable");
  }
}

/** When nobody knows how far the attempt came; `losses` counts this one. */
export function courseAfterLoss(task: TaskRecord, losses: number): Course {
  if (losses > LIMITS.nodeLossesMax) return { kind: "over", reason: "node_losses_spent" };
  switch (onLostOf(task)) {
    case "retry":
      return { kind: "again", pauseMs: 0 };
    case "ask":
      return { kind: "ask" };
    case "fail":
      return { kind: "over", reason: "outcome_unknown" };
  }
}

/** The pause before the next attempt: random up to the doubled limit, on top of what the failing side asked for. */
export function pauseMs(baseMs: number, nth: number, random: number, retryAfterMs = 0): number {
  const limit = Math.min(BACKOFF_MS_MAX, baseMs * 2 ** (nth - 1));
  return Math.min(RETRY_AFTER_MS_MAX, retryAfterMs) + Math.round(random * limit);
}

/** As it is found after a restart: no pause is longer than it can have been, wherever the time of day was when it began. */
export function found(task: TaskRecord, now: number): TaskRecord {
  const { state, reason, dueAt, spec, failures, losses, throttles = 0 } = task;
  if (state !== "scheduled" || reason !== "attempt_failed" || dueAt === undefined) return task;
  const backoff = pauseMs(spec.retry?.backoffMs ?? BACKOFF_MS_DEFAULT, Math.max(failures, losses, 1), 1);
  return { ...task, dueAt: Math.min(dueAt, now + (throttles > 0 ? RETRY_AFTER_MS_MAX + BACKOFF_MS_MAX : backoff)) };
}

/** An exit code does not say whether it would be another one the next time: whoever asks for retries says so. */
const OWNERS_CHOICE: ReadonlySet<ErrorCode> = new Set<ErrorCode>(["command_failed", "spawn_failed"]);

function classOf(retry: Retry | undefined, code: ErrorCode): ErrorClass {
  return OWNERS_CHOICE.has(code) && (retry?.max ?? 0) > 0 ? "transient" : ERRORS[code].class;
}

function countsAfter(task: TaskRecord, errorClass: ErrorClass): Judgement["counts"] {
  if (errorClass === "infrastructure") return { losses: task.losses + 1 };
  if (errorClass === "throttled") return { throttles: (task.throttles ?? 0) + 1 };
  return { failures: task.failures + 1 };
}

/** What becomes of an attempt whose outcome nobody knows. */
export function onLostOf({ spec, acted }: TaskRecord): OnLost {
  return spec.onLost ?? (acted ? "ask" : "retry");
}
