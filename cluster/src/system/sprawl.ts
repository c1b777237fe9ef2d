/**
 * Is a value so large that nobody may look at it with a schema? zod complains of each entry that is wrong, and goes on: a megabyte of
 * zeros where records belong was measured to take seconds, and its complaint to be 88 MB long. So whatever comes from outside
 * is counted first, and what no honest message is comes no further.
 */
import type { z } from "zod";

/** Entries of lists and records together. The facts of a node with 512 skills have 10,000. */
export const ENTRIES_MAX = 20_000;
/** The parser lets no more levels through (json-depth.ts), but in short texts. */
const LEVELS_MAX = 256;
const PROBLEMS_TOLD = 3;
const PROBLEM_CHARS_MAX = 160;

/** `free`: fields that hold anything at all, or are looked at on their own. */
export function sprawls(value: unknown, free: readonly string[] = []): boolean {
  let entries = 0;
  const isTooMuch = (one: unknown, level: number): boolean => {
    if (typeof one !== "object" || one === null) return false;
    if (level > LEVELS_MAX) return true;
    if (Array.isArray(one)) {
      entries += one.length;
      return entries > ENTRIES_MAX || one.some((item) => isTooMuch(item, level + 1));
    }
    for (const name in one) {
      entries += 1;
      if (entries > ENTRIES_MAX) return true;
      if (!free.includes(name) && isTooMuch((one as Record<string, unknown>)[name], level + 1)) return true;
    }
    return false;
  };
  return isTooMuch(value, 0);
}

/** What is wrong, in few words, for a line of the log. */
export function problemOf({ issues }: z.core.$ZodError): string {
  const told = issues.slice(0, PROBLEMS_TOLD).map(({ path, message }) => `${path.join(".")}: ${message}`.slice(0, PROBLEM_CHARS_MAX));
  return [...told, ...(issues.length > PROBLEMS_TOLD ? [`and ${issues.length - PROBLEMS_TOLD} more`] : [])].join("; ");
}
