/**
 * A place in etcd as the target of a copy: written through the store itself, under a mark that keeps everybody else away until
 * the copy is whole. One that was cut off is begun again.
 */
import { ClusterError } from "@openclaw-cluster/contract/errors";
import { systemClock } from "../system/clock.ts";
import { silentLog } from "../system/log.ts";
import { randomId } from "../system/random-id.ts";
import { afterPrefix } from "./etcd-client.ts";
import { fromJson, toJson, type Head } from "./etcd-codec.ts";
import { newStamp } from "./etcd-fold.ts";
import { Keys } from "./etcd-keys.ts";
import { surely } from "./etcd-look.ts";
import { transact, type Place } from "./etcd-place.ts";
import { openEtcdStore, type EtcdStoreOptions } from "./etcd.ts";
import type { CopyTarget } from "./store-copy.ts";
import { StoreFenced } from "./store.ts";

/** What an earlier copy has left half-done in that place goes first; a store that is there does not. */
export async function openEtcdTarget(options: EtcdStoreOptions): Promise<CopyTarget & { close(): Promise<void> }> {
  const { client, prefix, log = silentLog, clock = systemClock } = options;
  const place: Place = { client, keys: new Keys(prefix), log, clock };
  const { keys } = place;
  const { entries } = await surely(place).range({ from: prefix, to: afterPrefix(prefix), limit: 1, keysOnly: true });
  const mark = randomId();
  const { held } = await transact(place, {
    when: entries.length === 0 ? [{ key: keys.epoch, exists: false }] : [{ key: keys.copying, exists: true }],
    // Two at once: the later one takes everything, and the earlier one is fenced.
    then: [{ deletePrefix: prefix }],
  });
  if (!held) throw new ClusterError("state_conflict", `There is a store in etcd under ${prefix} already.`);
  const store = await openEtcdStore(options);
  const { epoch } = await store.claim({ when: [], then: [{ put: keys.copying, value: mark }] });
  return {
    write: (rows) => store.commit({ epoch, ...rows }),
    async finish(identity) {
      await store.fold();
      const { found } = await surely(place).get([keys.head]);
      const folded = fromJson<Head>(found[0]?.value as Buffer);
      const head: Head = { ...folded, lastKey: Math.max(folded.lastKey, identity.lastKey), stamp: newStamp() };
      const answer = await transact(place, {
        when: [{ key: keys.copying, value: mark }],
        then: [
          { put: keys.cluster, value: identity.cluster },
          { put: keys.epoch, value: `${identity.epoch} ${mark}` },
          { put: keys.head, value: toJson(head) },
          { delete: keys.copying },
        ],
        otherwise: [{ get: keys.epoch }],
      });
      // An earlier try that was taken without an answer counts.
      if (!answer.held && answer.found[0]?.value.toString() !== `${identity.epoch} ${mark}`)
        throw new StoreFenced("another copy was begun in the same place");
    },
    close: () => store.close(),
  };
}
