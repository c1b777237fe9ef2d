/**
 * How an attempt ended, in the words of a coordinator of an older build. One that cannot read a result would hold up the report of
 * everything beside it, until it is updated.
 *
 * O1. An error that it does not know becomes one that it knows, of the same class: what follows from it is the same.
 */
import type { ErrorCode } from "@openclaw-cluster/contract/errors";
import type { Finished } from "@openclaw-cluster/contract/wire";

/** Of version 2 of the protocol. */
const IN_FIRST: ReadonlyMap<ErrorCode, ErrorCode> = new Map([
  ["model_failed", "agent_failed"],
  ["answer_invalid", "agent_failed"],
  ["model_refused", "gateway_refused"],
  ["model_unavailable", "gateway_unreachable"],
]);

/** `version`: of the protocol, as it is spoken with the coordinator. */
export function inWordsOf(version: number, finished: Finished): Finished {
  const { outcome } = finished;
  if (version >= 2 || (outcome.kind !== "failed" && outcome.kind !== "refused")) return finished;
  const code = IN_FIRST.get(outcome.error.code);
  if (code === undefined) return finished;
  const { error } = outcome;
  return { ...finished, outcome: { ...outcome, error: { ...error, code, message: `${error.code}: ${error.message}` } } };
}
