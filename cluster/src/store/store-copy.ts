/**
 * A whole store, carried from one kind to another: for backups, and for growing from SQLite to etcd and back. The copy has the
 * same cluster's id, epoch and last task key, so that whoever goes on with it goes on.
 */
import type { ClusterId } from "@openclaw-cluster/contract/ids";
import type { Claim, Loaded, Rows, Store } from "./store.ts";

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

/**
 * As of the moment at which it was opened, with one freedom: a row that was changed since may come as it is now, and so may an
 * attempt that was written since. Tasks and entries of the audit log that were made since are left out.
 */
export interface StoreView extends CopySource {
  readonly tasks: number;
  release(): void;
}

export interface CopyTarget {
  write(rows: Rows): Promise<void>;
  /** Until then what was written is no store. */
  finish(identity: StoreIdentity): Promise<void>;
}

/** Why a store is not to be written any more, for whoever opens it by an old setting. */
export interface MoveNote {
  readonly to: "etcd" | "sqlite";
  /** The node that has moved it. */
  readonly by: string;
  readonly at: number;
}

/** A store that can be moved elsewhere. */
export interface MoveSource extends Store {
  /** Nobody commits meanwhile. */
  view(): Promise<StoreView>;
  /** Asked for before a view, where a view is then a matter of an instant. */
  fold?(): Promise<void>;
  /** The epoch grows, for nobody: no commit is taken any more, and none of another writer, until somebody claims it. */
  leave(note: MoveNote): Promise<Claim>;
  /** It goes on to be the store, and may be claimed. */
  comeBack(): Promise<void>;
  /** Another one is the store for good; this one says so to whoever opens it. Nothing is asked of it any more. */
  retire(note: MoveNote): Promise<void>;
  /** Its writer leads no more: what is under way is not waited for, and its outcome told as unknown. It takes no change any more. */
  giveUp?(): void;
}

/** Where a store is moved to. After `finish` it is whole, and in nobody's use before `enter`. */
export interface MoveTarget extends CopyTarget {
  /** All that was written, as the medium has it. */
  view(): Promise<StoreView>;
  /** What the medium has in the place of these rows, in any order. */
  readBack(rows: Rows): Promise<Rows>;
  load(): Promise<Loaded>;
  /** What can be done ahead of `finish`, which is to be quick. */
  prepare?(): Promise<void>;
  /** After `finish`: it is the store from now on. May be called again. */
  enter(): Promise<void>;
  /** Nothing of it may ever be taken for the store. Instead of `enter`. */
  discard(): Promise<void>;
  close(): Promise<void>;
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
