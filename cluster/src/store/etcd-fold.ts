/**
 * Folding: what the log says is moved to where it is read from, and the log is shortened. It runs beside commits, and a task that
 * changed many times since the last fold is written once.
 *
 * F1. The head moves, and the log goes, in one last transaction; until then the log still says all of it, so that a fold may end
 *     anywhere and begin anew.
 * F2. Each transaction compares the epoch and the head that the fold began under, and a fold that follows one that failed begins
 *     by writing the head anew: so what a failed or earlier one has sent and etcd takes late changes nothing.
 * F3. No transaction has one key twice, and none depends on another of the same fold.
 */
import assert from "node:assert/strict";
import { ClusterError } from "@openclaw-cluster/contract/errors";
import { isDead, isTerminal } from "../core/task.ts";
import { randomId } from "../system/random-id.ts";
import type { Condition, Operation } from "./etcd-client.ts";
import { encodeDone, encodeSpec, fromJson, pack, toJson, unspecified, type Ending, type Head } from "./etcd-codec.ts";
import type { Image, PendingTask } from "./etcd-image.ts";
import { submitHash, type Keys } from "./etcd-keys.ts";
import { fenced, seated, type Seat } from "./etcd-log.ts";
import { surely } from "./etcd-look.ts";
import { transact, type Place } from "./etcd-place.ts";

const IN_FLIGHT_MAX = 4;
/** Smaller than etcd takes: a commit waits behind it for as long as it is written. */
const FOLD_BYTES_MAX = 256 * 1_024;
/** Around each operation. */
const FRAMING_BYTES = 32;

/** Where a head is compared it must be the very one: an absent one is that of a store that was never claimed. */
export function headIs({ keys }: Place, head: Head): Condition {
  return { key: keys.head, value: toJson(head) };
}

export const newStamp = (): string => randomId();

export interface Folding {
  readonly image: Image;
  /** What was made after this entry has left nothing of a fold that failed. */
  readonly safeSeq: number;
  /** Of one transaction. */
  readonly operationsMax: number;
}

export interface Folded {
  readonly head: Head;
  readonly revision: number;
}

/** Resolves with the new head, and the revision that has it. */
export async function fold(place: Place, seat: Seat, { image, safeSeq, operationsMax }: Folding): Promise<Folded> {
  const { keys } = place;
  const when = [seated(place, seat), headIs(place, image.head)];
  // All of it is taken now; what is committed from here on is the next fold's.
  const head = headOf(image);
  const operations = [...operationsOf(image, keys, safeSeq)];
  const requests = requestsOf(operations, operationsMax);
  let sent = 0;
  const send = async (): Promise<void> => {
    while (sent < requests.length) {
      const then = requests[sent++] as Operation[];
      const { held } = await transact(place, { when, then }, { harmless: true });
      if (!held) throw fenced(seat);
    }
  };
  const ends = await Promise.allSettled(Array.from({ length: IN_FLIGHT_MAX }, send));
  const failure = ends.find((end) => end.status === "rejected");
  if (failure !== undefined) throw failure.reason;
  const revision = await moveHead(place, seat, when, head);
  return { head, revision };
}

/** F2: the same head under another stamp, whatever stamp an earlier try has left there. */
export async function restamp(place: Place, seat: Seat, head: Head): Promise<Head> {
  const { keys } = place;
  const { found } = await surely(place).get([keys.epoch, keys.head]);
  const [epoch, there] = found;
  if (epoch?.value.toString() !== seat.mark || there === undefined) throw fenced(seat);
  assert(fromJson<Head>(there.value).applied === head.applied, "the head has moved, and not by its only writer");
  const fresh = { ...head, stamp: newStamp() };
  const when = [seated(place, seat), { key: keys.head, value: there.value }];
  const { held } = await transact(place, { when, then: [{ put: keys.head, value: toJson(fresh) }] }, { harmless: true });
  // This very put, or an earlier one, was taken without an answer: the next fold begins with whatever is there.
  if (!held) throw new ClusterError("unavailable", "etcd did not say which head is there; it is asked again.");
  return fresh;
}

/** Puts the head, with more. An earlier try that was taken without an answer counts. */
export async function writeHead(
  place: Place,
  seat: Seat,
  when: readonly Condition[],
  head: Head,
  more: readonly Operation[],
): Promise<number> {
  const { keys } = place;
  const value = toJson(head);
  const answer = await transact(place, {
    when,
    then: [{ put: keys.head, value }, ...more],
    otherwise: [{ get: keys.epoch }, { get: keys.head }],
  });
  const [epoch, there] = answer.found;
  if (!answer.held && !(epoch?.value.toString() === seat.mark && there?.value.toString() === value)) throw fenced(seat);
  return answer.revision;
}

function moveHead(place: Place, seat: Seat, when: readonly Condition[], head: Head): Promise<number> {
  const { keys } = place;
  return writeHead(place, seat, when, head, [
    { deleteRange: [keys.log, keys.entry(head.applied + 1)] },
    { deleteRange: [keys.folder("part"), keys.partsFrom(head.applied + 1)] },
  ]);
}

function headOf(image: Image): Head {
  return { applied: image.seq, counts: image.counts(), lastKey: image.lastKey, audit: image.auditHead, stamp: newStamp() };
}

function* operationsOf(image: Image, keys: Keys, safeSeq: number): Generator<Operation> {
  for (const pending of image.tasks.values()) yield* taskOperations(pending, keys, safeSeq);
  for (const [task, its] of image.attempts)
    for (const { attempt } of its.values()) yield { put: keys.attempt(task, attempt.n), value: pack(toJson(attempt)) };
  for (const { key } of image.submits.values()) {
    const hash = submitHash(key.owner, key.key);
    yield { put: keys.submit(hash), value: toJson(key) };
    yield { put: keys.asked(key.at, hash), value: "" };
  }
  for (const id of image.nodesChanged.keys()) yield written(keys.node(id), image.nodes.get(id));
  for (const id of image.tokensChanged.keys()) yield written(keys.token(id), image.tokens.get(id));
  for (const { entry } of image.entries) yield { put: keys.audit(entry.seq), value: toJson(entry) };
}

function* taskOperations({ task, createdSeq, wasOver, endedBefore }: PendingTask, keys: Keys, safeSeq: number): Generator<Operation> {
  const { key, endedAt, spec } = task;
  const isOver = isTerminal(task.state);
  // Nothing can be there of a task that was made since.
  const isNew = createdSeq !== undefined && createdSeq > safeSeq;
  if (createdSeq !== undefined) yield { put: keys.spec(key), value: encodeSpec(spec) };
  for (const at of new Set(endedBefore)) if (!isOver || at !== endedAt) yield { delete: keys.ended(at, key) };
  if (!isOver) {
    yield { put: keys.live(key), value: pack(toJson(unspecified(task))) };
    if (wasOver) yield* [keys.done(key), keys.outcome(key), keys.dead(key)].map((its) => ({ delete: its }));
    return;
  }
  if (!isNew) yield { delete: keys.live(key) };
  const { row, outcome } = encodeDone(task);
  yield { put: keys.done(key), value: row };
  if (outcome !== undefined) yield { put: keys.outcome(key), value: outcome };
  else if (wasOver) yield { delete: keys.outcome(key) };
  if (isDead(task)) yield { put: keys.dead(key), value: "" };
  else if (wasOver) yield { delete: keys.dead(key) };
  if (endedAt === undefined) return;
  const ending: Ending = { state: task.state, ...(isDead(task) && { dead: true }), ...(outcome !== undefined && { apart: true }) };
  yield { put: keys.ended(endedAt, key), value: toJson(ending) };
}

function written(key: string, row: unknown): Operation {
  return row === undefined ? { delete: key } : { put: key, value: toJson(row) };
}

/** As many as one transaction takes. A single one may be larger than FOLD_BYTES_MAX, and goes alone. */
function requestsOf(operations: readonly Operation[], operationsMax: number): Operation[][] {
  const requests: Operation[][] = [];
  let bytes = Infinity;
  for (const operation of operations) {
    const its = bytesOf(operation);
    const last = requests.at(-1);
    if (last === undefined || last.length >= operationsMax || bytes + its > FOLD_BYTES_MAX) {
      requests.push([operation]);
      bytes = its;
    } else {
      last.push(operation);
      bytes += its;
    }
  }
  return requests;
}

function bytesOf(operation: Operation): number {
  if (!("put" in operation)) return FRAMING_BYTES * 2;
  return operation.put.length + Buffer.byteLength(operation.value) + FRAMING_BYTES;
}
