/** A heartbeat as it came from the bus, checked. What it holds can be thousands: each is looked at by hand, and the first bad one ends it. */
import { areAttemptRefs, Heartbeat } from "@openclaw-cluster/contract/wire";
import { problemOf, sprawls } from "../system/sprawl.ts";

export type ReadHeartbeat = { readonly kind: "beat"; readonly beat: Heartbeat } | { readonly kind: "none"; readonly problem: string };

const HELD = ["held"] as const satisfies readonly (keyof Heartbeat)[];

export function readHeartbeat(body: unknown): ReadHeartbeat {
  const { held } = (body ?? {}) as { held?: unknown };
  if (!areAttemptRefs(held)) return { kind: "none", problem: "held: not a list of attempts" };
  if (sprawls(body, HELD)) return { kind: "none", problem: "too many entries" };
  const parsed = Heartbeat.safeParse(body);
  return parsed.success ? { kind: "beat", beat: parsed.data } : { kind: "none", problem: problemOf(parsed.error) };
}
