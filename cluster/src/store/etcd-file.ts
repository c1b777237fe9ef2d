/**
 * Reads the database file of an etcd member that does not run: what it has, though it would not serve. The file is bbolt's, whose
 * format, as that of etcd's records in it, has not changed since etcd 3.0.
 *
 * F1. Nothing is written. A file that is not what is described here is refused (store_unreadable), and never half read.
 * F2. What etcd has only in its log of what was agreed on is not in the file: a member that starts and stops brings it there.
 */
import { closeSync, openSync, readSync } from "node:fs";
import { join } from "node:path";
import { ClusterError } from "@openclaw-cluster/contract/errors";

export interface EtcdFile {
  /** As they were last, in the order of their writing. */
  readonly values: ReadonlyMap<string, Buffer>;
  /** By their hexadecimal ids. */
  readonly members: ReadonlyMap<string, { readonly learner: boolean }>;
}

/** `folder`: the member's, as etcd-server.ts has it. */
export function readEtcdFile(folder: string): EtcdFile {
  const path = join(folder, "data", "member", "snap", "db");
  const handle = openSync(path, "r");
  try {
    const file = new BoltFile(handle);
    return { values: valuesIn(file.bucket("key")), members: membersIn(file.bucket("members")) };
  } catch (cause) {
    throw new ClusterError("store_unreadable", `${path} cannot be read as etcd's database: ${(cause as Error).message}`, { cause });
  } finally {
    closeSync(handle);
  }
}

type Pair = readonly [key: Buffer, value: Buffer];

/** `revision_sub`, and a `t` behind it where the key was deleted. In that order, so the last one counts. */
const REVISION_BYTES = 17;

function valuesIn(pairs: Iterable<Pair>): Map<string, Buffer> {
  const values = new Map<string, Buffer>();
  for (const [revision, record] of pairs) {
    const { key, value } = recordIn(record);
    values.delete(key);
    if (revision.length === REVISION_BYTES) values.set(key, value);
  }
  return values;
}

function membersIn(pairs: Iterable<Pair>): Map<string, { learner: boolean }> {
  const members = new Map<string, { learner: boolean }>();
  for (const [id, json] of pairs) {
    const { isLearner = false } = JSON.parse(json.toString()) as { isLearner?: boolean };
    members.set(id.toString(), { learner: isLearner });
  }
  return members;
}

const KEY_FIELD = 1;
const VALUE_FIELD = 5;
const VARINT = 0;
const BYTES = 2;

/** etcd's KeyValue, in protocol buffers: its numbers are of no use here. */
function recordIn(record: Buffer): { key: string; value: Buffer } {
  let [key, value] = ["", Buffer.alloc(0)];
  let at = 0;
  const varint = (): number => {
    let [read, scale] = [0, 1];
    for (;;) {
      const byte = record.readUInt8(at++);
      read += (byte & 0x7f) * scale;
      if (byte < 0x80) return read;
      scale *= 0x80;
    }
  };
  while (at < record.length) {
    const tag = varint();
    const [field, form] = [tag >>> 3, tag & 7];
    const size = varint();
    if (form === VARINT) continue;
    if (form !== BYTES || at + size > record.length) throw new Error("a record is not etcd's");
    // A copy: the page that it lies in goes.
    const bytes = Buffer.from(record.subarray(at, at + size));
    at += size;
    if (field === KEY_FIELD) key = bytes.toString();
    else if (field === VALUE_FIELD) value = bytes;
  }
  return { key, value };
}

const MAGIC = 0xed0cdaed;
const VERSION = 2;
const HEADER_BYTES = 16;
const ELEMENT_BYTES = 16;
const META_BYTES = 56;
const BRANCH = 1;
const LEAF = 2;
const DEPTH_MAX = 32;
/** Of the machine that made it: bbolt takes the system's. */
const PAGE_BYTES = [4_096, 8_192, 16_384, 65_536];

interface Meta {
  readonly pageBytes: number;
  readonly root: bigint;
  readonly transaction: bigint;
}

/** A tree of pages, of which the newer of two heads tells the root. */
class BoltFile {
  private readonly handle: number;
  private readonly meta: Meta;

  constructor(handle: number) {
    this.handle = handle;
    const heads = [0, ...PAGE_BYTES].map((at) => this.headAt(at)).filter((head) => head !== undefined);
    const [newest] = heads.sort((a, b) => (a.transaction < b.transaction ? 1 : -1));
    if (newest === undefined) throw new Error("it has no whole head");
    this.meta = newest;
  }

  /** Of the file's root. Its own few pairs can lie in the root's pair itself. */
  *bucket(name: string): Generator<Pair> {
    for (const [key, value] of this.pairs(this.meta.root)) {
      if (key.toString() !== name) continue;
      const root = value.readBigUInt64LE(0);
      yield* root === 0n ? this.pairsIn(value.subarray(HEADER_BYTES), 0) : this.pairs(root);
      return;
    }
    throw new Error(`it has no bucket ${name}`);
  }

  private *pairs(page: bigint, depth = 0): Generator<Pair> {
    yield* this.pairsIn(this.page(page), depth);
  }

  private *pairsIn(page: Buffer, depth: number): Generator<Pair> {
    if (depth > DEPTH_MAX) throw new Error("its pages go round in a ring");
    const [flags, count] = [page.readUInt16LE(8), page.readUInt16LE(10)];
    if (flags !== BRANCH && flags !== LEAF) throw new Error("a page is of another kind");
    for (let n = 0; n < count; n += 1) {
      const at = HEADER_BYTES + n * ELEMENT_BYTES;
      if (flags === BRANCH) {
        yield* this.pairs(page.readBigUInt64LE(at + 8), depth + 1);
        continue;
      }
      const keyAt = at + page.readUInt32LE(at + 4);
      const valueAt = keyAt + page.readUInt32LE(at + 8);
      const end = valueAt + page.readUInt32LE(at + 12);
      if (end > page.length) throw new Error("a page ends before what lies in it");
      yield [page.subarray(keyAt, valueAt), page.subarray(valueAt, end)];
    }
  }

  /** With those that it runs over into. */
  private page(id: bigint): Buffer {
    const { pageBytes } = this.meta;
    const at = Number(id) * pageBytes;
    const head = this.read(at, HEADER_BYTES);
    if (head.readBigUInt64LE(0) !== id) throw new Error(`page ${id} is not at its place`);
    return this.read(at, (head.readUInt32LE(12) + 1) * pageBytes);
  }

  private headAt(at: number): Meta | undefined {
    let head: Buffer;
    try {
      head = this.read(at + HEADER_BYTES, META_BYTES + 8);
    } catch {
      return undefined;
    }
    if (head.readUInt32LE(0) !== MAGIC || head.readUInt32LE(4) !== VERSION) return undefined;
    if (head.readBigUInt64LE(META_BYTES) !== fnv(head.subarray(0, META_BYTES))) return undefined;
    return { pageBytes: head.readUInt32LE(8), root: head.readBigUInt64LE(16), transaction: head.readBigUInt64LE(48) };
  }

  private read(at: number, bytes: number): Buffer {
    const buffer = Buffer.alloc(bytes);
    if (readSync(this.handle, buffer, 0, bytes, at) !== bytes) throw new Error("it ends too early");
    return buffer;
  }
}

/** FNV-1a of 64 bits, by which bbolt knows a whole head. */
function fnv(bytes: Uint8Array): bigint {
  let hash = 0xcbf29ce484222325n;
  for (const byte of bytes) hash = BigInt.asUintN(64, (hash ^ BigInt(byte)) * 0x100000001b3n);
  return hash;
}
