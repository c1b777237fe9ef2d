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
import type { Pruned, PruneOptions, SubmitKey } from "./store.ts";

export interface Pruning {
  readonly look: Look;
  readonly seat: Seat;
  readonly image: Image;
  /** In line with the commits. */
  inLine<T>(work: () => Promise<T>): Promise<T>;
}

/** A commit waits behind them: some 1,000 keys. */
const TASKS_PER_TRANSACTION = 250;
/** Beside the head. */
const OPERATIONS_FREE = OPERATIONS_MAX - 1;
const SUBMITS_PER_TRANSACTION = Math.floor((OPERATIONS_MAX - 1) / 2);

export async function prune(pruning: Pruning, options: PruneOptions): Promise<Pruned> {
  const submits = await pruneSubmits(pruning, options);
  const found = await candidates(pruning, options);
  let gone = 0;
  for (let at = 0; at < found.length;) {
    const some = found.slice(at, at + TASKS_PER_TRANSACTION);
    const { looked, deleted } = await pruning.inLine(() => deleteTasks(pruning, some));
    at += looked;
    gone += deleted;
  }
  return { tasks: gone, more: Math.max(found.length, submits) >= options.limit };
}

/** What hangs on tasks in these states counts for `keep`. */
export function finishedIn(counts: Counts): number {
  return Object.entries(counts).reduce((all, [state, count]) => (isTerminal(state as TaskState) ? all + count : all), 0);
}

interface Candidate {
  readonly entry: Entry;
  readonly key: number;
  readonly ending: Ending;
  /** Nothing lies between the candidate before and this one. */
  readonly follows: boolean;
}

/** What is to go, in the order of `ended`. */
async function candidates({ look, image }: Pruning, { endedBefore, keep, limit }: PruneOptions): Promise<Candidate[]> {
  const { keys } = look.place;
  const folder = keys.folder("ended");
  const beyond = keep === undefined ? 0 : finishedIn(image.counts()) - keep;
  const found: Candidate[] = [];
  let follows = false;
  if (limit <= 0) return found;
  const to = beyond > 0 ? keys.endedAt(Number.MAX_SAFE_INTEGER) : keys.endedAt(Math.max(0, endedBefore));
  for await (const page of pages(look, { from: folder, to })) {
    for (const entry of page) {
      const { at, key } = endIn(entry.key);
      if (image.tasks.has(key)) {
        follows = false;
        continue;
      }
      if (at >= endedBefore && found.length >= beyond) return found;
      found.push({ entry, key, ending: fromJson<Ending>(entry.value), follows });
      follows = true;
      if (found.length >= limit) return found;
    }
  }
  return found;
}

/** As many of them, from the first on, as one transaction takes. */
async function deleteTasks(pruning: Pruning, some: readonly Candidate[]): Promise<{ looked: number; deleted: number }> {
  const { look, image } = pruning;
  let looked = some;
  for (;;) {
    const going = looked.filter(({ key }) => !image.tasks.has(key));
    const operations = deletions(look.place.keys, looked, new Set(going.map(({ key }) => key)));
    if (operations.length > OPERATIONS_FREE) {
      looked = looked.slice(0, Math.ceil(looked.length / 2));
      continue;
    }
    const counts = going.reduce((left, { ending }) => sum(left, { [ending.state]: -1 }), image.head.counts);
    if (going.length > 0) await restamped(pruning, operations, counts);
    return { looked: looked.length, deleted: going.length };
  }
}

/** Tasks that were made one after the other mostly end so: what hangs on all of them is one range each. */
function deletions(keys: Keys, looked: readonly Candidate[], going: ReadonlySet<number>): Operation[] {
  const ends: { from: string; last: string }[] = [];
  let isOpen = false;
  for (const { entry, key, follows } of looked) {
    const open = ends.at(-1);
    if (!going.has(key)) isOpen = false;
    else if (isOpen && follows && open !== undefined) open.last = entry.key;
    else {
      ends.push({ from: entry.key, last: entry.key });
      isOpen = true;
    }
  }
  const runs: { first: Candidate; last: Candidate; dead: boolean; apart: boolean }[] = [];
  for (const one of looked.filter(({ key }) => going.has(key)).sort((a, b) => a.key - b.key)) {
    const run = runs.at(-1);
    const { dead = false, apart = false } = one.ending;
    if (run === undefined || one.key !== run.last.key + 1) runs.push({ first: one, last: one, dead, apart });
    else Object.assign(run, { last: one, dead: run.dead || dead, apart: run.apart || apart });
  }
  return [
    ...ends.map(({ from, last }): Operation => ({ deleteRange: [from, next(last)] })),
    ...runs.flatMap(({ first, last, dead, apart }) => leftovers(keys, { from: first.key, to: last.key, dead, apart })),
  ];
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

/** Of all tasks from `from` to `to`. */
function leftovers(keys: Keys, { from, to, dead, apart }: { from: number; to: number; dead: boolean; apart: boolean }): Operation[] {
  const range = (first: string, last: string): Operation => ({ deleteRange: [first, next(last)] });
  return [
    // Newest first, as dead letters are.
    range(keys.done(to), keys.done(from)),
    range(keys.spec(from), keys.spec(to)),
    { deleteRange: [keys.attempts(from), keys.attempts(to + 1)] },
    ...(dead ? [range(keys.dead(to), keys.dead(from))] : []),
    ...(apart ? [range(keys.outcome(from), keys.outcome(to))] : []),
  ];
}

/** How many it has looked at. */
async function pruneSubmits(pruning: Pruning, { endedBefore, submitsBefore = endedBefore, limit }: PruneOptions): Promise<number> {
  const { look, inLine } = pruning;
  const { keys } = look.place;
  const range = { from: keys.folder("asked"), to: keys.askedAt(Math.max(0, submitsBefore)) };
  let left = limit;
  for (let from = range.from; left > 0;) {
    const { entries, more } = await look.range({ ...range, from, limit: Math.min(left, SUBMITS_PER_TRANSACTION), keysOnly: true });
    const last = entries.at(-1);
    if (last === undefined) break;
    const { found } = await look.get(entries.map(({ key }) => keys.submit(askIn(key).hash)));
    // One that was used again later stays; only its mark at the earlier time goes.
    const old = found.filter((entry) => entry !== undefined && fromJson<SubmitKey>(entry.value).at < submitsBefore) as Entry[];
    const names = new Set([...entries, ...old].map(({ key }) => key));
    await inLine(() =>
      restamped(
        pruning,
        [...names].map((name) => ({ delete: name })),
      ),
    );
    left -= entries.length;
    from = next(last.key);
    if (!more) break;
  }
  return limit - left;
}
