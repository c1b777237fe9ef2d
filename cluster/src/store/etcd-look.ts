/**
 * Two ways to read: surely, as the leader's log has it; or nearby, from the member that is asked, which needs no quorum. And pages
 * of a range that stay small whatever lies in it.
 */
import { EtcdFault, OPERATIONS_MAX, type CallOptions, type Entry, type RangeOptions, type Ranged } from "./etcd-client.ts";
import { next } from "./etcd-keys.ts";
import { patiently, untilGivenUp, type Place } from "./etcd-place.ts";

type Range = Omit<RangeOptions, "local" | "newestKeyFirst">;

export interface Look {
  readonly place: Place;
  range(range: Range): Promise<Ranged>;
  /** In their order; undefined: nothing there. */
  get(keys: readonly string[], revision?: number): Promise<Got>;
}

interface Got {
  readonly found: readonly (Entry | undefined)[];
  readonly revision: number;
}

/** It asks nobody else, so one that has not answered by then is away, and the next one is asked. */
const NEAR: CallOptions = { timeoutMs: 1_000 };
const PAGE_ROWS_FIRST = 64;
const PAGE_ROWS_MAX = 1_024;
/** The next page has more rows, or fewer. */
const PAGE_BYTES_SMALL = 256 * 1_024;
const PAGE_BYTES_LARGE = 2 * 1_024 * 1_024;

export function surely(place: Place): Look {
  const look = direct(place);
  return {
    place,
    range: (range) => patiently(place, () => look.range(range)),
    get: (keys, revision) => patiently(place, () => look.get(keys, revision)),
  };
}

/** Surely or not at all. */
export function direct(place: Place): Look {
  return {
    place,
    range: (range) => place.client.range(range, untilGivenUp(place)),
    get: (keys, revision) => getAll(place, keys, { ...(revision !== undefined && { revision }) }),
  };
}

/** Old by as much as the member that is asked is behind. */
export function local(place: Place): Look {
  return {
    place,
    range: (range) => place.client.range({ ...range, local: true }, NEAR),
    get: (keys, revision) => getAll(place, keys, { local: true, ...(revision !== undefined && { revision }) }, NEAR),
  };
}

/** From the member that is asked, unless it is behind what was heard already; then surely, where that can be had. */
export function nearby(place: Place, heard: () => number): Look {
  const near = local(place);
  const sure = direct(place);
  const orSurely = async <T extends { revision: number }>(look: () => Promise<T>, instead: () => Promise<T>): Promise<T> => {
    const answer = await patiently(place, look);
    if (answer.revision >= heard()) return answer;
    try {
      return await instead();
    } catch (error) {
      if (error instanceof EtcdFault && error.passes) return answer;
      throw error;
    }
  };
  return {
    place,
    range: (range) =>
      orSurely(
        () => near.range(range),
        () => sure.range(range),
      ),
    get: (keys, revision) =>
      orSurely(
        () => near.get(keys, revision),
        () => sure.get(keys, revision),
      ),
  };
}

async function getAll(
  place: Place,
  keys: readonly string[],
  how: { revision?: number; local?: true },
  options: CallOptions = untilGivenUp(place),
): Promise<Got> {
  const found: (Entry | undefined)[] = [];
  let revision = 0;
  for (let at = 0; at === 0 || at < keys.length; at += OPERATIONS_MAX) {
    const some = keys.slice(at, at + OPERATIONS_MAX);
    const gets = some.map((key) => ({ get: key, ...how }));
    const answer = await place.client.transact({ when: [], then: gets }, options);
    found.push(...answer.found);
    revision ||= answer.revision;
  }
  return { found, revision };
}

/** Everything in the range, in pages. */
export async function* pages(look: Look, range: Omit<Range, "limit">): AsyncGenerator<readonly Entry[]> {
  let { from } = range;
  let limit = PAGE_ROWS_FIRST;
  for (let more = true; more;) {
    const page = await look.range({ ...range, from, limit });
    more = page.more;
    const last = page.entries.at(-1);
    if (last === undefined) return;
    from = next(last.key);
    yield page.entries;
    const bytes = page.entries.reduce((all, { value }) => all + value.length, 0);
    if (bytes < PAGE_BYTES_SMALL) limit = Math.min(limit * 2, PAGE_ROWS_MAX);
    else if (bytes > PAGE_BYTES_LARGE) limit = Math.max(1, Math.floor(limit / 4));
  }
}
