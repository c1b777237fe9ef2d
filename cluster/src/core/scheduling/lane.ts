/**
 * The tasks of one shape, priority and fairness key, oldest first. Nearly all come in that order and stand in a chain;
 * one that comes back from a retry is older than its followers and stands in a small heap beside it.
 */
import type { TaskRecord } from "../task.ts";
import type { Flow } from "./fairness.ts";
import { Heap, OUT, type Ranked } from "./heap.ts";
import type { Shape } from "./shape.ts";

export class Entry implements Ranked {
  readonly task: TaskRecord;
  readonly lane: Lane;
  readonly key: number;
  readonly level = 0;
  readonly tag = 0;
  at = OUT;
  previous: Entry | undefined;
  next: Entry | undefined;

  constructor(task: TaskRecord, lane: Lane) {
    this.task = task;
    this.lane = lane;
    this.key = task.key;
  }
}

/** Ranked as its first task is. */
export class Lane implements Ranked {
  readonly shape: Shape;
  readonly priority: number;
  readonly fairnessKey: string;
  /** OUT until the queue has ranked it. */
  level = OUT;
  tag = 0;
  key = 0;
  at = OUT;
  /** Its place in the queue's list of lanes. */
  index = OUT;
  /** Its fairness key's virtual time at this level. */
  flow!: Flow;
  private first: Entry | undefined;
  private last: Entry | undefined;
  private early: Heap<Entry> | undefined;

  constructor(shape: Shape, priority: number, fairnessKey: string) {
    this.shape = shape;
    this.priority = priority;
    this.fairnessKey = fairnessKey;
  }

  get head(): Entry | undefined {
    const early = this.early?.top;
    return early !== undefined && (this.first === undefined || early.key < this.first.key) ? early : this.first;
  }

  add(entry: Entry): void {
    const { last } = this;
    if (last !== undefined && entry.key < last.key) {
      (this.early ??= new Heap()).fix(entry);
      return;
    }
    entry.previous = last;
    if (last === undefined) this.first = entry;
    else last.next = entry;
    this.last = entry;
  }

  remove(entry: Entry): void {
    if (entry.at !== OUT) {
      (this.early as Heap<Entry>).remove(entry);
      return;
    }
    if (entry.previous === undefined) this.first = entry.next;
    else entry.previous.next = entry.next;
    if (entry.next === undefined) this.last = entry.previous;
    else entry.next.previous = entry.previous;
  }

  /** In order, without disturbing it. */
  *entries(): Generator<Entry, undefined> {
    const early = [...(this.early?.all() ?? [])].sort((a, b) => a.key - b.key);
    let at = 0;
    let entry = this.first;
    while (entry !== undefined || at < early.length) {
      const other = early[at];
      if (entry === undefined || (other !== undefined && other.key < entry.key)) {
        yield other as Entry;
        at++;
      } else {
        yield entry;
        entry = entry.next;
      }
    }
  }
}
