/**
 * The whole queue in the order in which it would be placed if there were always room, as it stands now: for a list of
 * what comes next, and for how many are ahead of a task. A rehearsal of queue.ts that leaves it untouched.
 */
import { levelOf, LEVEL_MAX } from "./aging.ts";
import { Heap, OUT, type Ranked } from "./heap.ts";
import type { Entry, Lane } from "./lane.ts";
import type { Queue } from "./queue.ts";

/** Who waits behind so many is told no more than that: going through 100,000 takes some 50 ms. */
export const AHEAD_MAX = 10_000;

interface Cursor extends Ranked {
  readonly lane: Lane;
  readonly rest: Generator<Entry, undefined>;
  entry: Entry;
}

export function* inOrder(queue: Queue, now: number): Generator<Entry, undefined> {
  const { fairness } = queue;
  const times = Array.from({ length: LEVEL_MAX + 1 }, () => new Map<string, number>());
  const cursors = new Heap<Cursor>();

  const tagOf = ({ level, lane: { fairnessKey } }: Cursor): number =>
    (times[level] as Map<string, number>).get(fairnessKey) ?? fairness.peek(level, fairnessKey);
  const rank = (cursor: Cursor): void => {
    cursor.level = levelOf(cursor.entry.task, now);
    cursor.key = cursor.entry.key;
    cursor.tag = tagOf(cursor);
    cursors.fix(cursor);
  };

  for (const lane of queue.lanes) {
    const rest = lane.entries();
    const first = rest.next().value;
    if (first !== undefined) rank({ lane, rest, entry: first, level: 0, tag: 0, key: 0, at: OUT });
  }
  for (;;) {
    const cursor = cursors.top;
    if (cursor === undefined) return;
    const tag = tagOf(cursor);
    if (cursor.tag !== tag) {
      cursor.tag = tag;
      cursors.fix(cursor);
      continue;
    }
    yield cursor.entry;
    (times[cursor.level] as Map<string, number>).set(cursor.lane.fairnessKey, tag + cursor.lane.shape.slots);
    const next = cursor.rest.next().value;
    if (next === undefined) cursors.remove(cursor);
    else {
      cursor.entry = next;
      rank(cursor);
    }
  }
}
