/**
 * What happens to messages on their way: usually little, in a storm anything. Whole links can be cut, in one direction or
 * both, without either end being told.
 *
 * M1. In calm weather messages of one sender to one receiver arrive in order, each once (B3 of the bus).
 */
import type { Faults, Passage } from "../../../cluster/src/bus/ram.ts";
import type { Chance } from "./chance.ts";
import type { VirtualTime } from "./time.ts";

const WAY_MS = [0.1, 2] as const;
/** A message that is held up: longer than any time-out of a request, shorter than a lease. */
const LATE_MS = 8_000;

interface Storm {
  readonly lost: number;
  readonly doubled: number;
  readonly late: number;
  /** Overtakes what was sent before it, or is overtaken. */
  readonly disordered: number;
}

const CALM: Storm = { lost: 0, doubled: 0, late: 0, disordered: 0 };

export class Weather {
  private readonly time: VirtualTime;
  private readonly chance: Chance;
  private storm = CALM;
  private readonly cut = new Set<string>();
  /** By link: when the last message arrives. */
  private readonly lastAt = new Map<string, number>();

  constructor(time: VirtualTime, chance: Chance) {
    this.time = time;
    this.chance = chance;
  }

  rage(): void {
    const upTo = (most: number): number => this.chance.between(0, most);
    this.storm = { lost: upTo(0.2), doubled: upTo(0.2), late: upTo(0.1), disordered: upTo(0.3) };
  }

  calm(): void {
    this.storm = CALM;
  }

  /** From now on nothing arrives; the ends are not told. */
  cutOff(name: string, direction: "to" | "from" | "both"): void {
    if (direction !== "from") this.cut.add(`>${name}`);
    if (direction !== "to") this.cut.add(`${name}>`);
  }

  mend(name: string): void {
    this.cut.delete(`>${name}`);
    this.cut.delete(`${name}>`);
  }

  isCut(name: string): boolean {
    return this.cut.has(`>${name}`) || this.cut.has(`${name}>`);
  }

  readonly faults: Faults = (passage: Passage) => {
    const { from, to } = passage;
    const { storm, chance } = this;
    if (this.cut.has(`${from}>`) || this.cut.has(`>${to}`) || chance.is(storm.lost)) return [];
    const ways = [this.way(from, to)];
    if (chance.is(storm.doubled)) ways.push(this.way(from, to));
    return ways;
  };

  private way(from: string, to: string): number {
    const { storm, chance, time } = this;
    const wayMs = chance.is(storm.late) ? chance.between(0, LATE_MS) : chance.between(...WAY_MS);
    if (chance.is(storm.disordered)) return wayMs;
    const link = `${from}>${to}`;
    const at = Math.max(this.lastAt.get(link) ?? 0, time.now + wayMs);
    this.lastAt.set(link, at);
    return at - time.now;
  }
}
