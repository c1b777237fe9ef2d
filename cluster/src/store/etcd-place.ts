/**
 * One store's place in etcd, and how it is spoken to with patience: a new leader of etcd's own takes a second or two, and nobody
 * above should hear of that.
 *
 * P1. A change whose outcome is unknown is tried again until etcd says one way or the other; the transaction's conditions see to
 *     it that it is not done twice. Where nobody says so within DECIDED_MS, the store is broken.
 * P2. A change that did not happen is told as a ClusterError.
 * P3. Whoever does not lead any more has nobody to be patient for: what is under way then is told as unknown at once.
 */
import { ClusterError } from "@openclaw-cluster/contract/errors";
import type { Clock } from "../system/clock.ts";
import type { Log } from "../system/log.ts";
import { pause } from "../system/pause.ts";
import { EtcdFault, type CallOptions, type EtcdClient, type Transacted, type Transaction } from "./etcd-client.ts";
import type { Keys } from "./etcd-keys.ts";
import { StoreBroken } from "./store.ts";

export interface Place {
  readonly client: EtcdClient;
  readonly keys: Keys;
  readonly clock: Clock;
  readonly log: Log;
  /** P3. */
  readonly givenUp?: AbortSignal;
}

/** Longer than etcd needs for a new leader, shorter than callers wait for their answer. */
const DECIDED_MS = 15_000;
const AGAIN_MS = 100;
/**
 * How long the first tries wait; further ones as long as a call may. What is proposed while etcd's leadership changes hands is dropped,
 * and nobody says so: that is found out by asking again. An election takes 1 to 2 s. Three control nodes, etcd's leader killed: with
 * 5 s the first time nothing was accepted for 12 s, with 2 s for 5.3. Where a disk is slower than that, asking again costs a look.
 */
const FIRST_ANSWERS_MS = [1_000, 1_000, 2_000] as const;

/**
 * Its conditions must hold at most once, or doing it twice must be the same. `harmless`: it may also be taken after everybody has
 * given up on it; then the store goes on.
 */
export async function transact(place: Place, transaction: Transaction, { harmless = false } = {}): Promise<Transacted> {
  const { client, clock, givenUp } = place;
  const until = clock.monotonic() + DECIDED_MS;
  const within = untilGivenUp(place);
  let isOpen = false;
  for (let tried = 0; ; tried += 1) {
    const timeoutMs = FIRST_ANSWERS_MS[tried];
    try {
      return await client.transact(transaction, timeoutMs === undefined ? within : { ...within, timeoutMs });
    } catch (thrown) {
      const error = asFault(place, thrown);
      if (!(error instanceof EtcdFault)) throw error;
      if (error.kind === "no_space") {
        const found = await withoutPuts(place, transaction).catch(passing);
        if (found?.held === false) return found;
        if (found !== undefined && !isOpen && (await client.hasNoSpace().catch(passing)) === true) throw full(error);
      } else if (!error.passes) throw isOpen && !harmless ? broken(error) : refused(error);
      isOpen ||= error.mayHaveHappened;
      if (clock.monotonic() >= until || givenUp?.aborted === true) throw isOpen && !harmless ? broken(error) : unavailable(error);
      await pause(clock, AGAIN_MS, givenUp);
    }
  }
}

/** P3. */
export const untilGivenUp = ({ givenUp }: Place): CallOptions => (givenUp === undefined ? {} : { signal: givenUp });

/** P3. What was cut may have been sent. */
function asFault({ givenUp }: Place, thrown: unknown): unknown {
  if (givenUp?.aborted !== true || thrown instanceof EtcdFault) return thrown;
  return new EtcdFault("undecided", "nobody waits for its answer any more", { cause: thrown, mayHaveHappened: true });
}

/** As long as etcd cannot be reached, or has no leader. */
export async function patiently<T>(place: Place, look: () => Promise<T>): Promise<T> {
  const { clock, givenUp } = place;
  const until = clock.monotonic() + DECIDED_MS;
  for (;;) {
    try {
      return await look();
    } catch (thrown) {
      const error = asFault(place, thrown);
      if (!(error instanceof EtcdFault) || error.kind === "compacted") throw error;
      if (!error.passes) throw refused(error);
      if (clock.monotonic() >= until || givenUp?.aborted === true) throw unavailable(error);
      await pause(clock, AGAIN_MS, givenUp);
    }
  }
}

/**
 * What a full etcd still answers. It matters: the put that fills the database is refused and done all the same, so its own key
 * tells whether it was.
 */
function withoutPuts({ client }: Place, { when, otherwise }: Transaction): Promise<Transacted> {
  return client.transact({ when, then: [], ...(otherwise !== undefined && { otherwise }) });
}

function passing(error: unknown): undefined {
  if (!(error instanceof EtcdFault)) throw error;
}

const full = (cause: EtcdFault): ClusterError =>
  new ClusterError("storage_full", "etcd's database is full; nothing of this change was kept.", { cause });
const refused = (cause: EtcdFault): ClusterError => new ClusterError("store_failed", `etcd refused: ${cause.message}`, { cause });
const unavailable = (cause: EtcdFault): ClusterError =>
  new ClusterError("unavailable", "etcd cannot be reached, or most of its members cannot.", { cause });
const broken = (cause: EtcdFault): StoreBroken =>
  new StoreBroken("etcd did not say whether the last change was taken; what was written last is unknown.", { cause });
