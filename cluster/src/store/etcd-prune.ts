/**
 * Deletes finished tasks, the first that ended first, and old submit keys. Whoever calls has folded, and lets nothing be folded
 * meanwhile; each transaction stands in line with the commits.
 *
 * D1. A task goes with all that hangs on it, and out of the counts, in one transaction.
 * D2. A task that was run again since the last fold is no finished one.
 * D3. Each transaction writes the head anew: one that etcd takes late deletes nothing of what came after it.
 */
import type { TaskState } from "@openclaw-cluster/contract/task";
import { isTerminal } from "../core/task.ts";
import { OPERATIONS_MAX, type Entry, type Operation } from "./etcd-client.ts";
import { fromJson, sum, type Counts, type Ending, type Head } from "./etcd-codec.ts";
import { headIs, newStamp, writeHead } from "./etcd-fold.ts";
import type { Image } from "./etcd-image.ts";
import { askIn, endIn, next, type Keys } from "./etcd-keys.ts";
import { pages, type Look } from "./etcd-look.ts";
import { seated, type Seat } from "./etcd-log.ts";
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
const SUBMITS_PER_TRANSACTION = Math.floor((OPERATIONS_MAX - 1) / 2);

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

async function deleteTasks(pruning: Pruning, some: readonly Entry[]): Promise<number> {
  const { look, image } = pruning;
  const { keys } = look.place;
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
  await restamped(pruning, operations, counts);
  return going.length;
}

/** D3. */
async function restamped(
  { look: { place }, seat, image }: Pruning,
  operations: readonly Operation[],
  counts = image.head.counts,
): Promise<void> {
  const head: Head = { ...image.head, counts, stamp: newStamp() };
  await writeHead(place, seat, [seated(place, seat), headIs(place, image.head)], head, operations);
  image.passed(head);
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

async function pruneSubmits(pruning: Pruning, { endedBefore, limit }: PruneOptions): Promise<void> {
  const { look, inLine } = pruning;
  const { keys } = look.place;
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
    await inLine(() =>
      restamped(
        pruning,
        [...names].map((name) => ({ delete: name })),
      ),
    );
    left -= entries.length;
    from = next(last.key);
    if (!more) return;
  }
}
