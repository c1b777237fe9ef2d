/**
 * What is done about moves before a store in etcd is claimed, by a daemon whose settings say that it is the store. A move that was
 * decided is finished; one that was not is as if it had never been begun.
 *
 * U1. A copy in etcd is the store only if the database that it was made of has not been claimed since: it has the same epoch. So a
 *     copy of an earlier try is never taken for the store, whatever the settings say.
 * U2. A store in etcd that was left comes back only where it was left from, and only if no database there is the store by now.
 */
import { existsSync } from "node:fs";
import type { ClusterId } from "@openclaw-cluster/contract/ids";
import type { Clock } from "../system/clock.ts";
import type { Log } from "../system/log.ts";
import type { EtcdClient } from "./etcd-client.ts";
import { Keys } from "./etcd-keys.ts";
import { comeBack, enterCopy, readMarks } from "./etcd-move.ts";
import type { Place } from "./etcd-place.ts";
import { moveNoteIn, retireDatabase } from "./sqlite-moved.ts";
import { connect, isOurs } from "./sqlite-open.ts";
import { discardMovedHere } from "./sqlite-target.ts";

export interface UnfinishedMoveParts {
  readonly client: EtcdClient;
  readonly prefix: string;
  /** Where this machine's database is, or was. */
  readonly path: string;
  /** This machine's node. */
  readonly by: string;
  readonly clock: Clock;
  readonly log: Log;
}

/** What does not become the store here is refused by its claim, with the reason. */
export async function finishMoveIntoEtcd({ client, prefix, path, by, clock, log }: UnfinishedMoveParts): Promise<void> {
  const place: Place = { client, keys: new Keys(prefix), clock, log };
  // Before a store that was left comes back: a copy of it must not be there any more.
  discardMovedHere(path);
  const { copying, whole, moved, cluster } = await readMarks(place);
  if (copying !== undefined && whole !== undefined) {
    const database = openIfThere(path);
    try {
      if (database === undefined || database.cluster !== whole.cluster || database.epoch !== whole.epoch) return;
      database.retire({ to: "etcd", by, at: clock.wall() });
    } finally {
      database?.close();
    }
    await enterCopy(place, copying);
    log.warn({ path }, "the store was moved to etcd; the database stays as it was, and is not the store any more");
  } else if (moved?.by === by && !isStoreOf(path, cluster)) {
    await comeBack(place);
    log.warn("the store's move to SQLite was begun and not decided: the one in etcd goes on");
  }
}

function isStoreOf(path: string, cluster: ClusterId | undefined): boolean {
  const database = openIfThere(path);
  database?.close();
  return database !== undefined && !database.isMoved && database.cluster === cluster;
}

function openIfThere(path: string) {
  if (!existsSync(path)) return undefined;
  const database = connect(path, () => undefined);
  const isMoved = moveNoteIn(database) !== undefined;
  const meta = isMoved || isOurs(database) ? database.prepare("SELECT cluster, epoch FROM meta").get() : undefined;
  const { cluster, epoch } = (meta ?? {}) as { cluster?: ClusterId; epoch?: number };
  return {
    cluster,
    epoch,
    isMoved,
    retire: (note: Parameters<typeof retireDatabase>[1]) => retireDatabase(database, note),
    close: () => database.close(),
  };
}
