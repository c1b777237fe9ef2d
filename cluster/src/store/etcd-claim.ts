/**
 * Taking the writer's seat: one transaction that raises the epoch by compare-and-swap, and makes the cluster's id and its head at
 * the first one ever. From then on nothing that an earlier writer sends is taken.
 */
import type { ClusterId } from "@openclaw-cluster/contract/ids";
import { ClusterError } from "@openclaw-cluster/contract/errors";
import { randomId } from "../system/random-id.ts";
import type { Condition, Entry, Operation } from "./etcd-client.ts";
import { fromJson, toJson } from "./etcd-codec.ts";
import { newStamp } from "./etcd-fold.ts";
import { EMPTY_HEAD } from "./etcd-load.ts";
import type { Seat } from "./etcd-log.ts";
import { refuseLayout } from "./etcd-layout.ts";
import { patiently, transact, type Place } from "./etcd-place.ts";
import type { MoveNote } from "./store-copy.ts";
import { StoreFenced } from "./store.ts";

/** What must hold besides, and what is done besides: that a lease's key is still free, and is taken. */
export interface Terms {
  readonly when: readonly Condition[];
  readonly then: readonly Operation[];
  /** Whoever copies into this place: its mark. */
  readonly copying?: string;
}

/** Others claim at the same time; each failed try is another's success. */
const TRIES_MAX = 16;

export async function takeSeat(
  place: Place,
  { when, then, copying }: Terms = { when: [], then: [] },
): Promise<{ seat: Seat; cluster: ClusterId }> {
  const { keys } = place;
  let { epoch, cluster } = await readSeat(place);
  for (let tries = 0; tries < TRIES_MAX; tries += 1) {
    const isFirst = epoch === undefined;
    const seat = seatAfter(epoch);
    const mayBe: Condition[] = [
      { key: keys.copying, ...(copying === undefined ? { exists: false } : { value: copying }) },
      { key: keys.moved, exists: false },
      { key: keys.layout, exists: false },
    ];
    const minted = (cluster ?? randomId()) as ClusterId;
    const first: Operation[] = [
      { put: keys.cluster, value: minted },
      { put: keys.head, value: toJson({ ...EMPTY_HEAD, stamp: newStamp() }) },
    ];
    // One that nobody heard the end of raises the epoch for nobody: the next claim raises it again.
    const answer = await transact(
      place,
      {
        when: [isFirst ? { key: keys.epoch, exists: false } : { key: keys.epoch, value: epoch as string }, ...mayBe, ...when],
        then: [{ put: keys.epoch, value: seat.mark }, ...(isFirst ? first : []), ...then],
        otherwise: [{ get: keys.epoch }, { get: keys.cluster }, { get: keys.moved }, { get: keys.copying }, { get: keys.layout }],
      },
      { harmless: true },
    );
    if (answer.held) return { seat, cluster: minted };
    const there = answer.found[0]?.value.toString();
    // A try without an answer was taken: nobody else writes this mark.
    if (there === seat.mark) return { seat, cluster: answer.found[1]?.value.toString() as ClusterId };
    refuseLayout(answer.found[4]);
    refuseMove(answer.found[2], copying === undefined ? answer.found[3] : undefined);
    if (there === epoch) throw new StoreFenced("the terms of this claim do not hold");
    epoch = there;
    cluster = answer.found[1]?.value.toString();
  }
  throw new ClusterError("unavailable", "Too many others claim this store at the same time.");
}

/** In the middle of a move nobody may take the seat, nor after one. */
function refuseMove(moved: Entry | undefined, copying: Entry | undefined): void {
  if (moved !== undefined) {
    const { to, by, at } = fromJson<MoveNote>(moved.value);
    throw new ClusterError(
      "config_invalid",
      `store.kind: the store in this etcd was moved to ${to} on ${new Date(at).toISOString()}, on node ${by}, and what comes since is there.`,
    );
  }
  if (copying === undefined) return;
  throw new ClusterError(
    "store_unreadable",
    "What lies in this etcd is a copy of a store that is elsewhere still: its move was begun and not finished. Go on there, and begin the move again.",
  );
}

async function readSeat(place: Place): Promise<{ epoch: string | undefined; cluster: string | undefined }> {
  const { client, keys } = place;
  const look = { when: [], then: [{ get: keys.epoch }, { get: keys.cluster }] };
  const { found } = await patiently(place, () => client.transact(look));
  return { epoch: found[0]?.value.toString(), cluster: found[1]?.value.toString() };
}

/** `7 k3j2h4g5`: the epoch, and a word by which a claim knows its own. */
function seatAfter(mark: string | undefined): Seat {
  const epoch = mark === undefined ? 1 : epochIn(mark) + 1;
  return { epoch, mark: `${epoch} ${randomId()}` };
}

export const epochIn = (mark: string): number => Number(mark.split(" ")[0]);
