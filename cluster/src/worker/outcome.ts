/**
 * An attempt's end in the form in which it may travel: its reason for stopping laid over what the executor says, and
 * its size within the limits of one message.
 */
import { ClusterError } from "@openclaw-cluster/contract/errors";
import { Json, JSON_DEPTH_MAX } from "@openclaw-cluster/contract/json";
import { LIMITS } from "@openclaw-cluster/contract/limits";
import type { TaskError } from "@openclaw-cluster/contract/task";
import type { Outcome } from "@openclaw-cluster/contract/wire";
import type { AbortCause } from "../executors/executors.ts";

const MESSAGE_CHARS_MAX = 4_096;
/** Of an error's data; more than that belongs into the output. */
const ERROR_DATA_BYTES_MAX = 32 * 1024;

/** An outcome with its size as JSON, in bytes. */
export interface Weighed {
  readonly outcome: Outcome;
  readonly bytes: number;
}

/** What the attempt's end means, if the worker had stopped it. A success that was reached in spite of that stays one. */
export function explained(outcome: Outcome, cause: AbortCause | undefined, limits: { runMs: number; idleMs: number }): Outcome {
  if (cause === undefined || outcome.kind === "succeeded") return outcome;
  switch (cause) {
    case "run_timeout":
      return { kind: "failed", error: { code: "run_timeout", message: `It ran longer than ${limits.runMs} ms.` } };
    case "idle_timeout":
      return { kind: "failed", error: { code: "idle_timeout", message: `It printed nothing for ${limits.idleMs} ms.` } };
    case "shutdown":
    case "sleep":
      return { kind: "cancelled", cause };
    case "cancelled":
    case "lease_lost":
      // Not a failure of the task's own: the coordinator knows whether it asked, and else treats it as a loss of the node.
      return { kind: "cancelled" };
  }
}

/**
 * Weighs, and cuts what can be cut. A larger success is the caller's to store as a blob. What comes out may travel: one
 * outcome that the coordinator cannot read would hold up the report of everything beside it, for ever.
 */
export function weigh(outcome: Outcome): Weighed {
  const tame = outcome.kind === "succeeded" && outcome.result !== undefined && !isTame(outcome.result) ? untold() : outcome;
  const whole = tame.kind === "failed" || tame.kind === "refused" ? { ...tame, error: cut(tame.error) } : tame;
  return { outcome: whole, bytes: Buffer.byteLength(JSON.stringify(whole)) };
}

/** Most results are a word or a number, and are spared the schema. */
function isTame(value: unknown): boolean {
  return typeof value !== "object" || value === null || Json.safeParse(value).success;
}

function untold(): Outcome {
  const message = `The result cannot be told: JSON of at most ${JSON_DEPTH_MAX} levels, without a key __proto__, is kept.`;
  return { kind: "failed", error: { code: "result_too_large", message } };
}

export function tooLarge(bytes: number): Outcome {
  return {
    kind: "failed",
    error: { code: "result_too_large", message: `The result has ${bytes} bytes; at most ${LIMITS.resultBytesBlobMax} are kept.` },
  };
}

/** A fault of the executor or the worker itself. Without room for its folder nothing of the attempt has begun. */
export function crashed(error: unknown): Outcome {
  if (error instanceof ClusterError && error.code === "disk_full")
    return { kind: "refused", error: { code: error.code, message: error.detail } };
  const message = error instanceof Error ? error.message : String(error);
  return { kind: "failed", error: { code: "worker_failed", message: message.slice(0, MESSAGE_CHARS_MAX) } };
}

function cut(error: TaskError): TaskError {
  const message = error.message.slice(0, MESSAGE_CHARS_MAX);
  if (error.data === undefined) return message.length === error.message.length ? error : { code: error.code, message };
  if (!isTame(error.data)) return { code: error.code, message, data: { leftOut: true } };
  const bytes = Buffer.byteLength(JSON.stringify(error.data));
  const data: Record<string, Json> = bytes <= ERROR_DATA_BYTES_MAX ? error.data : { leftOutBytes: bytes };
  return { code: error.code, message, data };
}
