/**
 * What waits for a node, in the order of work: highest level first, within it fair between fairness keys, then oldest
 * first. One line for each shape, so that a shape for which no node is free is left aside whole.
 *
 * U1. A lane exists while something waits in it, a line while it has a lane.
 * U2. A line is awake (and may be looked at) or asleep: no node had room for it when it was last tried. It is woken by
 *     news of a node that has, and when its first task rises above one for which a node may be held.
 * U3. Lanes, lines and the order of awake lines are ranked by their first task; a fairness key's virtual time may have
 *     moved on since, which `top` makes good before it answers. Time only grows, so what comes first cannot be missed.
 */
import type { TaskRecord } from "../task.ts";
import { levelOf } from "./aging.ts";
import { Fairness } from "./fairness.ts";
import type { Fit } from "./fits.ts";
import { Heap, OUT, type Ranked } from "./heap.ts";
import { Entry, Lane } from "./lane.ts";
import { outranks, type Holder, type Member } from "./member.ts";
import type { Shape } from "./shape.ts";

/** Within this time each lane is looked at once, to see whether its first task has risen. */
const AGING_ROUND_MS = 1_000;
const STALE = -1;

export class Line implements Ranked, Holder {
  readonly shape: Shape;
  level = 0;
  tag = 0;
  key = 0;
  at = OUT;
  awake = true;
  /** The nodes that may have room for it. One that was found full comes back with its news, and only so. */
  open: Fit[] = [];
  /** The version of the fits that `open` was made of; STALE: look at all nodes again. */
  openVersion = STALE;
  /** A node that was found full may be so only for those that its hold outranks. */
  keptOut = false;
  holds: Member | undefined;
  wantsHold = false;
  /** When it is to be woken though no node has news. */
  retryAt = Infinity;
  readonly lanes = new Heap<Lane>();
  /** By priority, then by fairness key. */
  readonly byPriority: (Map<string, Lane> | undefined)[] = [];

  constructor(shape: Shape) {
    this.shape = shape;
  }

  /** The task that comes first in it. */
  get head(): TaskRecord {
    return ((this.lanes.top as Lane).head as Entry).task;
  }
}

export class Queue {
  readonly fairness = new Fairness();
  readonly lanes: Lane[] = [];
  private readonly entries = new Map<number, Entry>();
  /** By the shape's index. */
  private readonly lines: (Line | undefined)[] = [];
  private readonly awake = new Heap<Line>();
  private readonly all = new Set<Line>();
  private now = 0;
  private nextAged = 0;

  get size(): number {
    return this.entries.size;
  }

  has(key: number): boolean {
    return this.entries.has(key);
  }

  lineOf(shape: Shape): Line | undefined {
    return this.lines[shape.index];
  }

  get allLines(): ReadonlySet<Line> {
    return this.all;
  }

  enqueue(task: TaskRecord, shape: Shape): void {
    if (this.entries.has(task.key)) throw new Error(`t${task.key} is queued already`);
    let line = this.lines[shape.index];
    if (line === undefined) {
      this.lines[shape.index] = line = new Line(shape);
      this.all.add(line);
    }
    const lane = this.laneFor(line, task);
    const entry = new Entry(task, lane);
    this.entries.set(task.key, entry);
    lane.add(entry);
    if (lane.head === entry) this.rank(line, lane);
  }

  /** The line in which it was; undefined if it was in none. */
  remove(key: number): Line | undefined {
    const entry = this.entries.get(key);
    if (entry === undefined) return undefined;
    const line = this.lines[entry.lane.shape.index];
    this.takeOut(entry);
    return line;
  }

  /** The awake line whose first task comes before all others. */
  top(): Line | undefined {
    for (;;) {
      const line = this.awake.top;
      if (line === undefined || this.isSettled(line)) return line;
    }
  }

  /** Takes the line's first task out, at its fairness key's expense. */
  serve(line: Line): TaskRecord {
    const lane = line.lanes.top as Lane;
    const entry = lane.head as Entry;
    this.fairness.serve(lane.level, lane.flow, line.shape.slots);
    this.takeOut(entry);
    return entry.task;
  }

  sleep(line: Line): void {
    line.awake = false;
    this.awake.remove(line);
  }

  wake(line: Line): void {
    // Also called of a line that is awake, or that has just been emptied.
    if (line.awake || line.lanes.size === 0) return;
    line.awake = true;
    this.awake.fix(line);
  }

  /** As `wake`; the line will look at all nodes again. */
  rouse(line: Line): void {
    line.openVersion = STALE;
    line.keptOut = false;
    this.wake(line);
  }

  /** Lets time pass: some lanes are looked at anew, all of them once in AGING_ROUND_MS. */
  age(now: number): void {
    const passedMs = now - this.now;
    this.now = now;
    if (passedMs <= 0) return;
    const share = Math.min(1, passedMs / AGING_ROUND_MS);
    for (let left = Math.ceil(this.lanes.length * share); left > 0; left--) {
      const lane = this.lanes[this.nextAged++ % this.lanes.length] as Lane;
      if (levelOf((lane.head as Entry).task, now) !== lane.level) this.rank(this.lines[lane.shape.index] as Line, lane);
    }
  }

  private laneFor(line: Line, task: TaskRecord): Lane {
    const lanes = (line.byPriority[task.priority] ??= new Map<string, Lane>());
    const fairnessKey = task.spec.fairnessKey ?? task.spec.user ?? "";
    let lane = lanes.get(fairnessKey);
    if (lane === undefined) {
      lane = new Lane(line.shape, task.priority, fairnessKey);
      lanes.set(fairnessKey, lane);
      lane.index = this.lanes.push(lane) - 1;
    }
    return lane;
  }

  private takeOut(entry: Entry): void {
    const { lane } = entry;
    const line = this.lines[lane.shape.index] as Line;
    const wasFirst = lane.head === entry;
    this.entries.delete(entry.key);
    lane.remove(entry);
    if (lane.head === undefined) this.drop(line, lane);
    else if (wasFirst) this.rank(line, lane);
  }

  /** U1. */
  private drop(line: Line, lane: Lane): void {
    this.fairness.leave(lane.level, lane.flow);
    (line.byPriority[lane.priority] as Map<string, Lane>).delete(lane.fairnessKey);
    const last = this.lanes.pop() as Lane;
    if (last !== lane) {
      this.lanes[lane.index] = last;
      last.index = lane.index;
    }
    line.lanes.remove(lane);
    if (line.lanes.size > 0) {
      this.rankLine(line);
      return;
    }
    this.awake.remove(line);
    this.all.delete(line);
    this.lines[line.shape.index] = undefined;
  }

  /** After a change of the lane's first task, or of its level. */
  private rank(line: Line, lane: Lane): void {
    const { task, key } = lane.head as Entry;
    const level = levelOf(task, this.now);
    if (level !== lane.level) {
      if (lane.level !== OUT) this.fairness.leave(lane.level, lane.flow);
      lane.flow = this.fairness.join(level, lane.fairnessKey);
      lane.level = level;
    }
    lane.key = key;
    lane.tag = this.fairness.startOf(level, lane.flow);
    line.lanes.fix(lane);
    this.rankLine(line);
  }

  private rankLine(line: Line): void {
    const first = line.lanes.top as Lane;
    const hasRisen = outranks(first, line);
    const hold = line.holds?.hold;
    if (hold !== undefined && outranks(first, hold)) {
      hold.level = first.level;
      hold.key = first.key;
    }
    line.level = first.level;
    line.tag = first.tag;
    line.key = first.key;
    if (line.awake) this.awake.fix(line);
    if (hasRisen && line.keptOut) this.rouse(line);
  }

  /** U3. False: the line has moved. */
  private isSettled(line: Line): boolean {
    let lane = line.lanes.top as Lane;
    for (;;) {
      const tag = this.fairness.startOf(lane.level, lane.flow);
      if (tag === lane.tag) break;
      lane.tag = tag;
      line.lanes.fix(lane);
      lane = line.lanes.top as Lane;
    }
    if (line.tag === lane.tag && line.key === lane.key && line.level === lane.level) return true;
    this.rankLine(line);
    return false;
  }
}
