/**
 * Virtual time: nothing happens but the events in this heap, one after another, and time jumps from each to the next. One
 * event, with all the promises that it resolves, is one step of the simulation.
 *
 * V1. The same seed gives the same events in the same order: ties go by the order in which they were set.
 */
import type { Clock, Timer } from "../../../cluster/src/system/clock.ts";

interface Event {
  readonly at: number;
  readonly order: number;
  run: (() => void) | undefined;
}

/** The time of day at the world's beginning. */
export const DAWN = Date.UTC(2026, 0, 1);

export class VirtualTime implements Clock {
  now = 0;
  private readonly heap: Event[] = [];
  private order = 0;

  wall(): number {
    return DAWN + this.now;
  }

  monotonic(): number {
    return this.now;
  }

  soon(run: () => void): void {
    this.after(0, run);
  }

  after(ms: number, run: () => void): Timer {
    const event: Event = { at: this.now + Math.max(0, ms), order: this.order++, run };
    this.push(event);
    return { cancel: () => (event.run = undefined) };
  }

  /** Resolves when so much time has gone by. */
  passes(ms: number): Promise<void> {
    return new Promise((resolve) => void this.after(ms, resolve));
  }

  /** Runs the next event; false when there is none. What it resolves comes to rest before the step is over. */
  async step(): Promise<boolean> {
    for (;;) {
      const event = this.pop();
      if (event === undefined) return false;
      if (event.run === undefined) continue;
      this.now = event.at;
      event.run();
      await new Promise(setImmediate);
      return true;
    }
  }

  private push(event: Event): void {
    const { heap } = this;
    let child = heap.push(event) - 1;
    while (child > 0) {
      const parent = (child - 1) >> 1;
      if (isBefore(heap[parent] as Event, event)) break;
      heap[child] = heap[parent] as Event;
      child = parent;
    }
    heap[child] = event;
  }

  private pop(): Event | undefined {
    const { heap } = this;
    const top = heap[0];
    const last = heap.pop();
    if (top === undefined || last === undefined || heap.length === 0) return top;
    let parent = 0;
    for (;;) {
      const left = 2 * parent + 1;
      if (left >= heap.length) break;
      const right = left + 1;
      const least = right < heap.length && isBefore(heap[right] as Event, heap[left] as Event) ? right : left;
      if (isBefore(last, heap[least] as Event)) break;
      heap[parent] = heap[least] as Event;
      parent = least;
    }
    heap[parent] = last;
    return top;
  }
}

const isBefore = (a: Event, b: Event): boolean => a.at < b.at || (a.at === b.at && a.order < b.order);
