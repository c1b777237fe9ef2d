/**
 * The store in etcd as the source of a copy: read at one revision, at which everything is folded. What is in the log by then is
 * left out.
 */
import assert from "node:assert/strict";
import type { ClusterId } from "@openclaw-cluster/contract/ids";
import type { AuditEntry } from "@openclaw-cluster/contract/audit";
import type { Attempt } from "@openclaw-cluster/contract/task";
import { afterPrefix, type Entry } from "./etcd-client.ts";
import { fromJson, type DoneRow, type Head, type Unspecified } from "./etcd-codec.ts";
import { numberIn, taskIn } from "./etcd-keys.ts";
import { pages, type Look } from "./etcd-look.ts";
import type { Reads } from "./etcd-reads.ts";
import type { CopySource } from "./store-copy.ts";
import type { NodeRow, Rows, SubmitKey, TokenRow } from "./store.ts";

/** With specs and outcomes: 64 MiB at the worst. */
const TASKS_PER_PIECE = 128;
const TASKS_PER_READ = 32;

type Row = Pick<DoneRow, "task" | "apart">;

export function etcdSource(look: Look, reads: Reads, revision: number): CopySource {
  const { keys } = look.place;
  const entries = (folder: string): AsyncGenerator<readonly Entry[]> =>
    pages(look, { from: keys.folder(folder), to: afterPrefix(keys.folder(folder)), revision });
  const values = async function* <T>(folder: string): AsyncGenerator<T[]> {
    for await (const page of entries(folder)) yield page.map(({ value }) => fromJson<T>(value));
  };
  return {
    async identity() {
      const { found } = await look.get([keys.cluster, keys.epoch, keys.head], revision);
      const [cluster, epoch, head] = found.map((entry) => entry?.value ?? Buffer.from("null"));
      return {
        cluster: String(cluster) as ClusterId,
        epoch: Number.parseInt(String(epoch), 10),
        lastKey: fromJson<Head>(head as Buffer).lastKey,
      };
    },
    async *pieces(): AsyncGenerator<Rows> {
      for await (const rows of inPieces(merged(look, revision))) yield { created: await whole(reads, rows, revision) };
      for await (const page of entries("attempt")) {
        yield { attempts: page.map(({ key, value }) => ({ task: taskIn(key), attempt: fromJson<Attempt>(value) })) };
      }
      for await (const some of values<SubmitKey>("submit")) yield { keys: some };
      for await (const nodes of values<NodeRow>("node")) yield { nodes };
      for await (const tokens of values<TokenRow>("token")) yield { tokens };
      for await (const audit of values<AuditEntry>("audit")) yield { audit };
    },
  };
}

/** Live and finished tasks in the order of their keys. */
async function* merged(look: Look, revision: number): AsyncGenerator<Row> {
  const { keys } = look.place;
  const rows = async function* (folder: string, decode: (value: Buffer) => Row): AsyncGenerator<[number, Row]> {
    for await (const page of pages(look, { from: keys.folder(folder), to: afterPrefix(keys.folder(folder)), revision }))
      for (const { key, value } of page) yield [numberIn(key), decode(value)];
  };
  const sides = [rows("live", (value) => ({ task: fromJson<Unspecified>(value) })), rows("done", (value) => fromJson<DoneRow>(value))];
  const heads = await Promise.all(sides.map((side) => side.next()));
  for (;;) {
    const at = Number(keyOf(heads[0]) > keyOf(heads[1]));
    const head = heads[at];
    if (head === undefined || head.done === true) return;
    yield head.value[1];
    heads[at] = await (sides[at] as (typeof sides)[number]).next();
  }
}

const keyOf = (head: IteratorResult<[number, Row]> | undefined): number =>
  head === undefined || head.done === true ? Infinity : head.value[0];

async function* inPieces(rows: AsyncIterable<Row>): AsyncGenerator<Row[]> {
  let piece: Row[] = [];
  for await (const row of rows) {
    if (piece.push(row) < TASKS_PER_PIECE) continue;
    yield piece;
    piece = [];
  }
  if (piece.length > 0) yield piece;
}

async function whole(reads: Reads, rows: readonly Row[], revision: number) {
  const starts = Array.from({ length: Math.ceil(rows.length / TASKS_PER_READ) }, (_, at) => at * TASKS_PER_READ);
  const read = await Promise.all(starts.map((at) => reads.whole(rows.slice(at, at + TASKS_PER_READ), revision)));
  const tasks = read.flat().map(({ task }) => task);
  assert(tasks.length === rows.length, "a task has lost its spec or its outcome");
  return tasks;
}
