/**
 * Commits: each is one new key of the log, so it is atomic and costs one round through etcd's own log.
 *
 * L1. The key is put only where the epoch is still ours and no entry has that number (S2 of store.ts).
 * L2. A batch that is too large for one request lies in parts, which mean nothing before the log key that counts them.
 * L3. An entry that was put without an answer is known again by its nonce: it is neither lost nor doubled.
 */
import { randomId } from "../system/random-id.ts";
import { afterPrefix, REQUEST_BYTES_MAX, type Condition, type Entry, type Transacted } from "./etcd-client.ts";
import { encodeEntry, fromJson, toJson, type Head, type LogValue } from "./etcd-codec.ts";
import type { Checked } from "./etcd-check.ts";
import { transact, type Place } from "./etcd-place.ts";
import { StoreBroken, StoreFenced, type Rows } from "./store.ts";

/** The writer's seat: what `meta/epoch` holds while it is its own. */
export interface Seat {
  readonly epoch: number;
  readonly mark: string;
}

const PARTS_IN_FLIGHT_MAX = 4;
const NONCE_CHARS = 12;
/** Keys, conditions and framing around one value. */
const ROOM_BYTES = 16 * 1_024;
const VALUE_BYTES_MAX = REQUEST_BYTES_MAX - ROOM_BYTES;

export function seated({ keys }: Place, seat: Seat): Condition {
  return { key: keys.epoch, value: seat.mark };
}

export function fenced({ epoch }: Seat): StoreFenced {
  return new StoreFenced(`epoch ${epoch} is not the newest one`);
}

/** Nothing is written: whether the seat is still ours. */
export async function confirmSeat(place: Place, seat: Seat): Promise<void> {
  const { held } = await transact(place, { when: [seated(place, seat)], then: [] });
  if (!held) throw fenced(seat);
}

export interface Append {
  readonly seq: number;
  readonly checked: Checked;
  readonly rows: Rows;
  /** Called before a batch goes in parts. */
  onLarge(): void;
}

/** Resolves with its size when it is in the log. */
export async function append(place: Place, seat: Seat, { seq, checked, rows, onLarge }: Append): Promise<number> {
  const nonce = randomId(NONCE_CHARS);
  const value = encodeEntry({ nonce, epoch: seat.epoch, ...checked }, rows);
  if (value.length <= VALUE_BYTES_MAX) {
    await putEntry(place, seat, { seq, nonce, value });
    return value.length;
  }
  onLarge();
  const parts = await putParts(place, seat, { seq, nonce, value });
  await putEntry(place, seat, { seq, nonce, value: Buffer.from(toJson({ nonce, parts })) });
  return value.length;
}

interface Value {
  readonly seq: number;
  readonly nonce: string;
  readonly value: Buffer;
}

async function putEntry(place: Place, seat: Seat, { seq, nonce, value }: Value): Promise<void> {
  const { keys } = place;
  const key = keys.entry(seq);
  const answer = await transact(place, {
    when: [seated(place, seat), { key, exists: false }],
    then: [{ put: key, value }],
    otherwise: [{ get: keys.epoch }, { get: key }, { get: keys.head }],
  });
  if (!answer.held) resolve(answer, seat, seq, nonce);
}

/** It was not put now. Returns where an earlier try was taken. */
function resolve({ found: [epoch, there, head] }: Transacted, seat: Seat, seq: number, nonce: string): void {
  if (there !== undefined && nonceOf(there) === nonce) return;
  const isOurs = epoch?.value.toString() === seat.mark;
  const applied = head === undefined ? 0 : fromJson<Head>(head.value).applied;
  // Another writer has folded what was in the log under this number, ours or its own.
  if (!isOurs && there === undefined && applied >= seq)
    throw new StoreBroken(`it is unknown whether entry ${seq} was taken before another writer came`);
  if (!isOurs) throw fenced(seat);
  throw new StoreBroken(`entry ${seq} of the log is there already, and another's`);
}

const nonceOf = ({ value }: Entry): string => fromJson<LogValue>(value).nonce;

async function putParts(place: Place, seat: Seat, { seq, nonce, value }: Value): Promise<number> {
  const { keys } = place;
  const parts: Buffer[] = [];
  for (let at = 0; at < value.length; at += VALUE_BYTES_MAX) parts.push(value.subarray(at, at + VALUE_BYTES_MAX));
  let sent = 0;
  const send = async (): Promise<void> => {
    while (sent < parts.length) {
      const at = sent++;
      const put = { put: keys.part(seq, nonce, at), value: parts[at] as Buffer };
      const { held } = await transact(place, { when: [seated(place, seat)], then: [put] });
      if (!held) throw fenced(seat);
    }
  };
  // All of them end before anything follows, also where one fails.
  const ends = await Promise.allSettled(Array.from({ length: PARTS_IN_FLIGHT_MAX }, send));
  const failure = ends.find((end) => end.status === "rejected");
  if (failure !== undefined) throw failure.reason;
  return parts.length;
}

/** What no entry refers to: parts whose log key was never put, and late puts of what is folded. */
export async function sweep(place: Place, seat: Seat, { applied, seq }: { applied: number; seq: number }): Promise<void> {
  const { keys } = place;
  const { held } = await transact(place, {
    when: [seated(place, seat)],
    then: [
      { deleteRange: [keys.partsFrom(seq + 1), afterPrefix(keys.folder("part"))] },
      { deleteRange: [keys.folder("part"), keys.partsFrom(applied + 1)] },
      { deleteRange: [keys.log, keys.entry(applied + 1)] },
    ],
  });
  if (!held) throw fenced(seat);
}
