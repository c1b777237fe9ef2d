/**
 * Any JSON value, as payloads and results carry it. Checked by hand, because zod's own `z.json()` is six times slower on
 * a large value and overflows its stack on a deep one.
 */
import { z } from "zod";

export type Json = null | boolean | number | string | Json[] | { [key: string]: Json };

/** Deeper values are no data, and a recursive reader further on would overflow its stack. */
export const JSON_DEPTH_MAX = 200;

export const Json: z.ZodType<Json> = z
  .unknown()
  .refine((value) => isTame(value, 0), `at most ${JSON_DEPTH_MAX} levels deep, and no key __proto__`) as z.ZodType as z.ZodType<Json>;

function isTame(value: unknown, depth: number): boolean {
  if (typeof value === "string" || typeof value === "boolean" || value === null) return true;
  if (typeof value === "number") return Number.isFinite(value);
  if (typeof value !== "object" || depth >= JSON_DEPTH_MAX) return false;
  if (Array.isArray(value)) return value.every((item) => isTame(item, depth + 1));
  for (const key of Object.keys(value)) {
    if (key === "__proto__" || !isTame((value as Record<string, unknown>)[key], depth + 1)) return false;
  }
  return true;
}
