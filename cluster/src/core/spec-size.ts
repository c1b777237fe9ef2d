/** How large a task's spec is, without writing it out as JSON: that would cost more than all else that is done for a short one. */
import type { TaskSpec } from "@openclaw-cluster/contract/task-spec";

/** What stands around a spec: in memory the task's record, in an offer its ids and its submitter. */
export const FIXED_BYTES = 2_048;
/** UTF-8 takes at most three for a UTF-16 unit; only control characters take more in JSON, six. */
const BYTES_PER_CHAR = 3;
/** The longest number, and what stands around a field. */
const NUMBER_CHARS = 24;
const FIELD_CHARS = 4;

/** Bytes, roughly: on the wire and in memory it is rarely more, and never twice as much. */
export function specBytes(spec: TaskSpec): number {
  return FIXED_BYTES + BYTES_PER_CHAR * chars(spec);
}

function chars(value: unknown): number {
  if (typeof value === "string") return value.length + FIELD_CHARS;
  if (typeof value !== "object" || value === null) return NUMBER_CHARS;
  let sum = 0;
  if (Array.isArray(value)) for (const item of value as unknown[]) sum += chars(item);
  else
    for (const [name, item] of Object.entries(value)) {
      if (item !== undefined) sum += name.length + FIELD_CHARS + chars(item);
    }
  return sum;
}
