/**
 * Fair shares within one level: start-time fair queueing (Goyal, Vin, Cheng, "Start-Time Fair Queueing", SIGCOMM 1996).
 * Each fairness key has a virtual time, which grows by the slots it was given; the key with the lowest comes next.
 * Nobody has to say in advance how long a task will run, which is why this and not deficit round robin by cost.
 *
 * Q1. A key that was away, or could not be served, comes back at the level's present virtual time: it gets its share
 *     from now on, and no arrears.
 */
import { LEVEL_MAX } from "./aging.ts";

/** Keys remembered in a level. Beyond it those are dropped for which nothing waits there, and with them what they had in advance. */
const FLOWS_KEPT = 10_000;

export interface Flow {
  /** The virtual time at which its next task starts. */
  time: number;
  /** Lanes in which something of this key waits. */
  lanes: number;
}

interface Level {
  /** The start time of what was served last. */
  now: number;
  limit: number;
  readonly flows: Map<string, Flow>;
}

export class Fairness {
  private readonly levels: readonly Level[] = Array.from({ length: LEVEL_MAX + 1 }, () => ({
    now: 0,
    limit: FLOWS_KEPT,
    flows: new Map(),
  }));

  join(level: number, key: string): Flow {
    const { flows, now } = this.levels[level] as Level;
    let flow = flows.get(key);
    if (flow === undefined) flows.set(key, (flow = { time: now, lanes: 0 }));
    flow.lanes++;
    return flow;
  }

  leave(level: number, flow: Flow): void {
    flow.lanes--;
    const at = this.levels[level] as Level;
    if (at.flows.size <= at.limit) return;
    for (const [key, { lanes }] of at.flows) if (lanes === 0) at.flows.delete(key);
    at.limit = Math.max(FLOWS_KEPT, 2 * at.flows.size);
  }

  /** Q1. */
  startOf(level: number, flow: Flow): number {
    return Math.max(flow.time, (this.levels[level] as Level).now);
  }

  /** As `startOf`, for a key that may not be here. */
  peek(level: number, key: string): number {
    const { flows, now } = this.levels[level] as Level;
    return Math.max(flows.get(key)?.time ?? 0, now);
  }

  serve(level: number, flow: Flow, slots: number): void {
    const start = this.startOf(level, flow);
    (this.levels[level] as Level).now = start;
    flow.time = start + slots;
  }
}
