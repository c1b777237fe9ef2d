/**
 * A place in etcd as the target of a copy: written through the store itself, under a mark that keeps everybody else away until
 * the copy is whole and in use. One that was cut off is begun again.
 */
import type { ClusterId } from "@openclaw-cluster/contract/ids";
import { ClusterError } from "@openclaw-cluster/contract/errors";
import { systemClock } from "../system/clock.ts";
import { silentLog } from "../system/log.ts";
import { randomId } from "../system/random-id.ts";
import { afterPrefix, type Condition } from "./etcd-client.ts";
import { fromJson, toJson, type Head } from "./etcd-codec.ts";
import { newStamp } from "./etcd-fold.ts";
import { Keys, next, STORE_FOLDERS } from "./etcd-keys.ts";
import { surely } from "./etcd-look.ts";
import { copyingMark, enterCopy } from "./etcd-move.ts";
import { transact, type Place } from "./etcd-place.ts";
import { etcdRows } from "./etcd-source.ts";
import { openEtcdStore, type EtcdStore, type EtcdStoreOptions } from "./etcd.ts";
import type { MoveTarget, StoreIdentity } from "./store-copy.ts";
import { StoreFenced, type Loaded } from "./store.ts";

/** etcd stands still for 10 ms while it deletes so many. */
const KEYS_PER_DELETE = 1_000;

export interface EtcdTargetOptions extends EtcdStoreOptions {
  /** Whose store it will be. */
  readonly cluster: ClusterId;
}

/**
 * What an earlier copy has left half-done in that place goes first, and so does a store of this cluster that was moved elsewhere;
 * any other store does not.
 */
export async function openEtcdTarget(options: EtcdTargetOptions): Promise<MoveTarget> {
  const { client, prefix, cluster, log = silentLog, clock = systemClock } = options;
  const place: Place = { client, keys: new Keys(prefix), log, clock };
  const mark = randomId();
  // Another one than the copy's: a delete that etcd takes late takes nothing of what was copied.
  const clearing = copyingMark(randomId());
  await takePlace(place, clearing, cluster);
  await clear(place, clearing);
  const store = await openEtcdStore(options);
  const put = { put: place.keys.copying, value: copyingMark(mark) };
  const { epoch } = await store.claim({ when: [], then: [put], copying: clearing });
  let whole = copyingMark(mark);
  return {
    write: (rows) => store.commit({ epoch, ...rows }),
    view: () => store.view(),
    async readBack(rows) {
      // Not for each piece of what was written: the first one folds it all.
      await store.fold();
      return etcdRows(surely(place), rows);
    },
    load: () => loadFolded(place, store),
    async finish(identity) {
      await store.fold();
      whole = copyingMark(mark, { cluster: identity.cluster, epoch: identity.epoch });
      await makeWhole(place, identity, { mark, whole });
    },
    enter: () => enterCopy(place, whole),
    // Nobody can claim it as it stands, and the next move clears it.
    discard: () => store.close(),
    close: () => store.close(),
  };
}

/** Two at once: the later one takes everything, and the earlier one is fenced. */
async function takePlace(place: Place, mark: string, cluster: ClusterId): Promise<void> {
  const { keys } = place;
  const { found } = await surely(place).get([keys.copying, keys.moved]);
  const [copying, moved] = found.map((entry) => entry?.value);
  const is = (key: string, value: string | Buffer | undefined): Condition => ({
    key,
    ...(value === undefined ? { exists: false } : { value }),
  });
  const left = moved === undefined ? is(keys.epoch, undefined) : is(keys.cluster, cluster);
  const answer = await transact(place, {
    when: copying === undefined ? [is(keys.copying, undefined), is(keys.moved, moved), left] : [is(keys.copying, copying)],
    then: [{ put: keys.copying, value: mark }, { delete: keys.epoch }, { delete: keys.cluster }, { delete: keys.moved }],
    otherwise: [{ get: keys.copying }],
  });
  const there = answer.found[0]?.value.toString();
  if (answer.held || there === mark) return;
  if (there !== copying?.toString()) throw anotherCopy();
  throw new ClusterError("state_conflict", `There is a store in etcd under ${keys.prefix} already.`);
}

async function clear(place: Place, mark: string): Promise<void> {
  const { keys } = place;
  const look = surely(place);
  for (const folder of STORE_FOLDERS.map((name) => keys.folder(name))) {
    for (let more = true; more;) {
      const found = await look.range({ from: folder, to: afterPrefix(folder), limit: KEYS_PER_DELETE, keysOnly: true });
      more = found.more;
      const last = found.entries.at(-1);
      if (last === undefined) break;
      const when = [{ key: keys.copying, value: mark }];
      const { held } = await transact(place, { when, then: [{ deleteRange: [folder, next(last.key)] }] }, { harmless: true });
      if (!held) throw anotherCopy();
    }
  }
}

/** What etcd says of it, where that is one key; the rest was read back, row for row. */
async function loadFolded(place: Place, store: EtcdStore): Promise<Loaded> {
  await store.fold();
  const { found } = await surely(place).get([place.keys.head]);
  const { counts, lastKey, audit } = fromJson<Head>(found[0]?.value as Buffer);
  return { ...(await store.load()), counts, lastKey, auditHead: audit };
}

async function makeWhole(place: Place, identity: StoreIdentity, { mark, whole }: { mark: string; whole: string }): Promise<void> {
  const { keys } = place;
  const { found } = await surely(place).get([keys.head]);
  const folded = fromJson<Head>(found[0]?.value as Buffer);
  const head: Head = { ...folded, lastKey: Math.max(folded.lastKey, identity.lastKey), stamp: newStamp() };
  const answer = await transact(place, {
    when: [{ key: keys.copying, value: copyingMark(mark) }],
    then: [
      { put: keys.cluster, value: identity.cluster },
      { put: keys.epoch, value: `${identity.epoch} ${mark}` },
      { put: keys.head, value: toJson(head) },
      { put: keys.copying, value: whole },
    ],
    otherwise: [{ get: keys.copying }],
  });
  // An earlier try that was taken without an answer counts.
  if (!answer.held && answer.found[0]?.value.toString() !== whole) throw anotherCopy();
}

const anotherCopy = (): StoreFenced => new StoreFenced("another copy was begun in the same place");
