/**
 * A whole store, carried from one kind to another: for backups, and for growing from SQLite to etcd and back. The copy has the
 * same cluster's id, epoch and last task key, so that whoever goes on with it goes on.
 */
import type { ClusterId } from "@openclaw-cluster/contract/ids";
import type { Rows } from "./store.ts";

export interface StoreIdentity {
  readonly cluster: ClusterId;
  readonly epoch: number;
  readonly lastKey: number;
}

/** All as of one moment, while the store works on. */
export interface CopySource {
  identity(): Promise<StoreIdentity>;
  /** Tasks first, their keys ascending, each with its spec and outcome; then all else. */
  pieces(): AsyncIterable<Rows>;
}

export interface CopyTarget {
  write(rows: Rows): Promise<void>;
  /** Until then what was written is no store. */
  finish(identity: StoreIdentity): Promise<void>;
}

/** Resolves with how many tasks there are. */
export async function copyInto(target: CopyTarget, source: CopySource): Promise<number> {
  const identity = await source.identity();
  let tasks = 0;
  for await (const rows of source.pieces()) {
    await target.write(rows);
    tasks += rows.created?.length ?? 0;
  }
  await target.finish(identity);
  return tasks;
}
