/**
 * Deletes finished tasks, the first that ended first, and old submit keys. Whoever calls has folded, and lets nothing be folded
 * meanwhile; each transaction stands in line with the commits.
 *
 * D1. A task goes with all that hangs on it, and out of the counts, in one transaction.
 * D2. A task that was run again since the last fold is no finished one.
 */
import type { TaskState } from "@openclaw-cluster/contract/task";
import { isTerminal } from "../core/task.ts";
import { OPERATIONS_MAX, type Entry, type Operation } from "./etcd-client.ts";
import { fromJson, sum, type Counts, type Ending, type Head } from "./etcd-codec.ts";
import { headIs, newStamp, writeHead } from "./etcd-fold.ts";
import type { Image } from "./etcd-image.ts";
import { askIn, endIn, next, type Keys } from "./etcd-keys.ts";
import { pages, type Look } from "./etcd-look.ts";
import { fenced, seated, type Seat } from "./etcd-log.ts";
import { transact } from "./etcd-place.ts";
import type { PruneOptions, SubmitKey } from "./store.ts";

export interface Pruning {
  readonly look: Look;
  readonly seat: Seat;
  readonly image: Image;
  /** In line with the commits. */
  inLine<T>(work: () => Promise<T>): Promise<T>;
}

/** Of one task: its end, row, spec, attempts, outcome, dead letter. */
const OPERATIONS_PER_TASK = 6;
/** Beside the head. */
const TASKS_PER_TRANSACTION = Math.floor((OPERATIONS_MAX - 1) / OPERATIONS_PER_TASK);
const SUBMITS_PER_TRANSACTION = Math.floor(OPERATIONS_MAX / 2);

export async function prune(pruning: Pruning, options: PruneOptions): Promise<number> {
  await pruneSubmits(pruning, options);
  const found = await candidates(pruning, options);
  let gone = 0;
  for (let at = 0; at < found.length; at += TASKS_PER_TRANSACTION) {
    const some = found.slice(at, at + TASKS_PER_TRANSACTION);
    gone += await pruning.inLine(() => deleteTasks(pruning, some));
  }
  return gone;
}

/** What hangs on tasks in these states counts for `keep`. */
export function finishedIn(counts: Counts): number {
  return Object.entries(counts).reduce((all, [state, count]) => (isTerminal(state as TaskState) ? all + count : all), 0);
}

/** Keys of `ended`, of what is to go. */
async function candidates({ look, image }: Pruning, { endedBefore, keep, limit }: PruneOptions): Promise<Entry[]> {
  const { keys } = look.place;
  const folder = keys.folder("ended");
  const beyond = keep === undefined ? 0 : finishedIn(image.counts()) - keep;
  const found: Entry[] = [];
  if (limit <= 0) return found;
  const to = beyond > 0 ? keys.endedAt(Number.MAX_SAFE_INTEGER) : keys.endedAt(Math.max(0, endedBefore));
  for await (const page of pages(look, { from: folder, to })) {
    for (const entry of page) {
      const { at, key } = endIn(entry.key);
      if (image.tasks.has(key)) continue;
      if (at >= endedBefore && found.length >= beyond) return found;
      found.push(entry);
      if (found.length >= limit) return found;
    }
  }
  return found;
}

async function deleteTasks({ look, seat, image }: Pruning, some: readonly Entry[]): Promise<number> {
  const { place } = look;
  const { keys } = place;
  const going = some.filter(({ key }) => !image.tasks.has(endIn(key).key));
  const [first] = going;
  if (first === undefined) return 0;
  let { counts } = image.head;
  const operations: Operation[] = [];
  for (const { key: name, value } of going) {
    const { key } = endIn(name);
    const ending = fromJson<Ending>(value);
    counts = sum(counts, { [ending.state]: -1 });
    operations.push({ delete: name }, ...leftovers(keys, key, ending));
  }
  const head: Head = { ...image.head, counts, stamp: newStamp() };
  await writeHead(place, seat, [seated(place, seat), headIs(place, image.head)], head, operations);
  image.passed(head);
  return going.length;
}

function leftovers(keys: Keys, key: number, { dead, apart }: Ending): Operation[] {
  return [
    { delete: keys.done(key) },
    { delete: keys.spec(key) },
    { deletePrefix: keys.attempts(key) },
    ...(dead === true ? [{ delete: keys.dead(key) }] : []),
    ...(apart === true ? [{ delete: keys.outcome(key) }] : []),
  ];
}

async function pruneSubmits({ look, seat, image, inLine }: Pruning, { endedBefore, limit }: PruneOptions): Promise<void> {
  const { place } = look;
  const { keys } = place;
  const range = { from: keys.folder("asked"), to: keys.askedAt(Math.max(0, endedBefore)) };
  let left = limit;
  for (let from = range.from; left > 0;) {
    const { entries, more } = await look.range({ ...range, from, limit: Math.min(left, SUBMITS_PER_TRANSACTION), keysOnly: true });
    const last = entries.at(-1);
    if (last === undefined) return;
    const { found } = await look.get(entries.map(({ key }) => keys.submit(askIn(key).hash)));
    // One that was used again later stays; only its mark at the earlier time goes.
    const old = found.filter((entry) => entry !== undefined && fromJson<SubmitKey>(entry.value).at < endedBefore) as Entry[];
    const names = new Set([...entries, ...old].map(({ key }) => key));
    const when = [seated(place, seat), headIs(place, image.head)];
    await inLine(async () => {
      const { held } = await transact(place, { when, then: [...names].map((name) => ({ delete: name })) });
      if (!held) throw fenced(seat);
    });
    left -= entries.length;
    from = next(last.key);
    if (!more) return;
  }
}
