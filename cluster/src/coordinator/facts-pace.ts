/**
 * How often a node may be another one. Facts that changed are written to the store, and lift the penalties that it has for what it
 * refused: it may take such work now. One that never came to rest would be asked for ever, and refuse for ever.
 *
 * F1. Some changes count at once, the next ones one by one. Of those that come between, the newest is kept, and counts with the first
 *     heartbeat for which there is room again, whatever that one says.
 * F2. A disk that is full counts at once; that it has room again is a change like any other.
 */
import type { NodeFacts, NodeLoad } from "@openclaw-cluster/contract/node";
import { Bucket } from "../system/bucket.ts";
import type { Clock } from "../system/clock.ts";
import type { NodeEntry } from "./registry.ts";

/** A start has two or three changes, as where a Gateway is found that was not up yet; so has a person who edits a policy. */
export const FACTS_PACE = { atOnce: 5, everyMs: 5_000 } as const;
const SIZE = { max: FACTS_PACE.atOnce, perSecond: 1_000 / FACTS_PACE.everyMs };

interface Pace {
  readonly changes: Bucket;
  waiting: NodeFacts | undefined;
}

export class FactsPace {
  private readonly clock: Clock;
  /** A node that was taken out, and one of its id that comes after it, are two. */
  private readonly paces = new WeakMap<NodeEntry, Pace>();

  constructor(clock: Clock) {
    this.clock = clock;
  }

  /** F1: the facts that are to count from now on; undefined where nothing changes yet. */
  next(entry: NodeEntry, said: NodeFacts | undefined): NodeFacts | undefined {
    const pace = this.paceOf(entry);
    const facts = said ?? pace.waiting;
    pace.waiting = undefined;
    if (facts === undefined || same(entry.facts, facts)) return undefined;
    if (this.takes(pace)) return facts;
    pace.waiting = facts;
    return undefined;
  }

  /** F2: the load that is to count. */
  load(entry: NodeEntry, said: NodeLoad): NodeLoad {
    const full = entry.load?.diskFull;
    if (full === undefined || said.diskFull !== undefined || this.takes(this.paceOf(entry))) return said;
    return { ...said, diskFull: full };
  }

  private takes({ changes }: Pace): boolean {
    return changes.take(1, this.clock.monotonic());
  }

  private paceOf(entry: NodeEntry): Pace {
    const known = this.paces.get(entry);
    if (known !== undefined) return known;
    const pace: Pace = { changes: new Bucket(SIZE, this.clock.monotonic()), waiting: undefined };
    this.paces.set(entry, pace);
    return pace;
  }
}

function same(a: unknown, b: unknown): boolean {
  return JSON.stringify(a) === JSON.stringify(b);
}
