/**
 * Where everything lies in etcd. Numbers have sixteen digits, so that keys sort as their numbers do; names that people chose
 * are written so that only ASCII is left, which etcd-client.ts asks for.
 */
import { createHash } from "node:crypto";
import type { NodeId } from "@openclaw-cluster/contract/ids";

/** The folders of a store; beside them lie what its control nodes say of themselves, and who leads. */
export const STORE_FOLDERS = [
  "log",
  "part",
  "live",
  "done",
  "spec",
  "outcome",
  "dead",
  "ended",
  "attempt",
  "submit",
  "asked",
  "node",
  "token",
  "audit",
] as const;

const DIGITS = 16;
const HASH_CHARS = 22;
const number = (value: number): string => String(value).padStart(DIGITS, "0");
const turned = (value: number): number => Number.MAX_SAFE_INTEGER - value;

export class Keys {
  readonly prefix: string;
  /** The epoch and whose it is: what every transaction compares. */
  readonly epoch: string;
  readonly cluster: string;
  /** There while a copy into this place is not whole, or not in use yet. */
  readonly copying: string;
  /** There when this store was moved elsewhere. */
  readonly moved: string;
  /** There when what lies here is laid out in a way that this version does not know; it holds that layout's number. Absent: the first. */
  readonly layout: string;
  /** Who leads; it hangs on the leader's lease (etcd-leadership.ts). */
  readonly leader: string;
  /** The log's entries, and its head after them: one watch hears both, in their order. */
  readonly log: string;
  readonly head: string;

  constructor(prefix: string) {
    this.prefix = prefix;
    this.epoch = `${prefix}meta/epoch`;
    this.cluster = `${prefix}meta/cluster`;
    this.copying = `${prefix}meta/copying`;
    this.moved = `${prefix}meta/moved`;
    this.layout = `${prefix}meta/layout`;
    this.leader = `${prefix}leader`;
    this.log = `${prefix}log/`;
    this.head = `${prefix}log/head`;
  }

  entry = (seq: number): string => `${this.log}${number(seq)}`;
  /** Of a batch that is too large for one request. */
  partsFrom = (seq: number): string => `${this.folder("part")}${number(seq)}/`;
  parts = (seq: number, nonce: string): string => `${this.partsFrom(seq)}${nonce}/`;
  part = (seq: number, nonce: string, at: number): string => `${this.parts(seq, nonce)}${number(at)}`;

  live = (key: number): string => `${this.folder("live")}${number(key)}`;
  /** Newest first: etcd reads a whole range before it turns it round, so a page of the newest would cost all of history. */
  done = (key: number): string => `${this.folder("done")}${number(turned(key))}`;
  spec = (key: number): string => `${this.folder("spec")}${number(key)}`;
  /** Result and error of a finished task, where they are too large for a row that lists look at. */
  outcome = (key: number): string => `${this.folder("outcome")}${number(key)}`;
  /** Dead letters, to be found without looking at any other task; newest first as well. */
  dead = (key: number): string => `${this.folder("dead")}${number(turned(key))}`;
  /** Finished tasks by the time of their end: what prune walks. */
  endedAt = (at: number): string => `${this.folder("ended")}${number(at)}/`;
  ended = (at: number, key: number): string => `${this.endedAt(at)}${number(key)}`;
  attempts = (key: number): string => `${this.folder("attempt")}${number(key)}/`;
  attempt = (key: number, n: number): string => `${this.attempts(key)}${number(n)}`;
  submit = (hash: string): string => `${this.folder("submit")}${hash}`;
  /** Submit keys by their time: what prune walks. */
  askedAt = (at: number): string => `${this.folder("asked")}${number(at)}/`;
  asked = (at: number, hash: string): string => `${this.askedAt(at)}${hash}`;
  node = (id: NodeId): string => `${this.folder("node")}${encodeURIComponent(id)}`;
  token = (id: string): string => `${this.folder("token")}${encodeURIComponent(id)}`;
  audit = (seq: number): string => `${this.folder("audit")}${number(seq)}`;

  folder(name: string): string {
    return `${this.prefix}${name}/`;
  }
}

/** The number at the key's end. */
export function numberIn(key: string): number {
  return Number(key.slice(-DIGITS));
}

/** The task's, of `done/…` and `dead/…`. */
export function doneIn(key: string): number {
  return turned(numberIn(key));
}

/** Of `ended/…/…`. */
export function endIn(key: string): { at: number; key: number } {
  return { at: numberBefore(key, DIGITS), key: numberIn(key) };
}

/** The number before the last part, which has so many letters. */
function numberBefore(key: string, lastChars: number): number {
  return numberIn(key.slice(0, -lastChars - 1));
}

/** Of `attempt/…/…`. */
export function taskIn(key: string): number {
  return numberBefore(key, DIGITS);
}

/** Of `asked/…/…`. */
export function askIn(key: string): { at: number; hash: string } {
  return { at: numberBefore(key, HASH_CHARS), hash: key.slice(-HASH_CHARS) };
}

/** A submit key's name: both parts are a caller's choice, of any length and letters. */
export function submitHash(owner: string, key: string): string {
  // With its length, so that no owner and key together read like another's.
  return createHash("sha256").update(`${owner.length} ${owner} ${key}`).digest("base64url").slice(0, HASH_CHARS);
}

/** The first key that is greater. */
export function next(key: string): string {
  return `${key}\0`;
}
