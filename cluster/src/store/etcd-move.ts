/**
 * What a place in etcd says of a move: into it (`meta/copying`: first that a copy is being made, then that it is whole), or out of
 * it (`meta/moved`). While either stands there nobody can claim it.
 */
import type { ClusterId } from "@openclaw-cluster/contract/ids";
import { ClusterError } from "@openclaw-cluster/contract/errors";
import { fromJson, toJson } from "./etcd-codec.ts";
import { surely } from "./etcd-look.ts";
import { transact, type Place } from "./etcd-place.ts";
import type { MoveNote, StoreIdentity } from "./store-copy.ts";

/** Under `meta/copying`. `whole`: of which store, and of which of its terms. */
interface Copying {
  readonly mark: string;
  readonly whole?: Pick<StoreIdentity, "cluster" | "epoch">;
}

export interface MoveMarks {
  /** The cluster whose store lies there; undefined where there is none. */
  readonly cluster: ClusterId | undefined;
  /** As it is written there. */
  readonly copying: string | undefined;
  readonly whole: Copying["whole"];
  readonly moved: MoveNote | undefined;
}

export async function readMarks(place: Place): Promise<MoveMarks> {
  const { keys } = place;
  const { found } = await surely(place).get([keys.cluster, keys.copying, keys.moved]);
  const [cluster, copying, moved] = found.map((entry) => entry?.value);
  return {
    cluster: cluster?.toString() as ClusterId | undefined,
    copying: copying?.toString(),
    whole: copying && fromJson<Copying>(copying).whole,
    moved: moved && fromJson<MoveNote>(moved),
  };
}

export function copyingMark(mark: string, whole?: Copying["whole"]): string {
  const value: Copying = { mark, ...(whole !== undefined && { whole }) };
  return toJson(value);
}

/** The copy that says this of itself is the store from now on. */
export async function enterCopy(place: Place, copying: string): Promise<void> {
  const { keys } = place;
  const answer = await transact(place, {
    when: [{ key: keys.copying, value: copying }],
    then: [{ delete: keys.copying }],
    otherwise: [{ get: keys.copying }],
  });
  // Nothing there: it was done before.
  if (answer.held || answer.found[0] === undefined) return;
  throw new ClusterError("state_conflict", "Another move into the same place in etcd was begun meanwhile.");
}

/** The store that was left goes on to be the store. */
export async function comeBack(place: Place): Promise<void> {
  await transact(place, { when: [], then: [{ delete: place.keys.moved }] });
}
