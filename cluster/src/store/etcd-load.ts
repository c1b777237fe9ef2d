/**
 * Builds the image: all of it as it was at one revision, the folded rows first and the log over them. A fold that was cut off
 * half-way leaves rows that are newer than the head; the log, which still has what they came from, is laid over those too.
 */
import type { TaskSpec } from "@openclaw-cluster/contract/task-spec";
import { EMPTY_CHAIN } from "../trust/audit-chain.ts";
import { refuseLayout } from "./etcd-layout.ts";
import { afterPrefix, EtcdFault, type Entry } from "./etcd-client.ts";
import { fromJson, rowsOf, type Head, type LogEntry, type LogValue, type Unspecified } from "./etcd-codec.ts";
import { Image } from "./etcd-image.ts";
import { numberIn, type Keys } from "./etcd-keys.ts";
import { pages, type Look } from "./etcd-look.ts";
import type { NodeRow, TokenRow } from "./store.ts";

/** Specs in one answer: 8 MiB at the worst. */
const SPECS_PER_READ = 32;
const READS_IN_FLIGHT_MAX = 4;

export const EMPTY_HEAD: Head = { applied: 0, counts: {}, lastKey: 0, audit: EMPTY_CHAIN, stamp: "" };

export async function loadImage(look: Look): Promise<Image> {
  const { keys } = look.place;
  const { found, revision } = await look.get([keys.head, keys.layout]);
  refuseLayout(found[1]);
  const image = new Image(found[0] === undefined ? EMPTY_HEAD : fromJson<Head>(found[0].value), revision);
  const live = await inFolder<Unspecified>(look, keys.folder("live"), revision);
  for (const node of await inFolder<NodeRow>(look, keys.folder("node"), revision)) image.nodes.set(node.id, node);
  for (const token of await inFolder<TokenRow>(look, keys.folder("token"), revision)) image.tokens.set(token.id, token);
  const log = await readLog(look, image.head.applied, revision);
  const specOf = await specsOf(look, log, live, revision);
  for (const task of live) image.enter({ ...task, spec: specOf(task.key) });
  for (const { seq, bytes, entry } of log) image.apply({ seq, bytes, ...entry, rows: rowsOf(entry, specOf) });
  return image;
}

interface ReadEntry {
  readonly seq: number;
  readonly bytes: number;
  readonly entry: LogEntry;
}

async function inFolder<T>(look: Look, folder: string, revision: number): Promise<T[]> {
  const rows: T[] = [];
  for await (const page of pages(look, { from: folder, to: afterPrefix(folder), revision }))
    for (const { value } of page) rows.push(fromJson<T>(value));
  return rows;
}

async function readLog(look: Look, applied: number, revision: number): Promise<ReadEntry[]> {
  const { keys } = look.place;
  const read: ReadEntry[] = [];
  for await (const page of pages(look, { from: keys.entry(applied + 1), to: keys.head, revision }))
    for (const entry of page) read.push(await readEntry(look, entry, revision));
  return read;
}

/** A log key's entry, from its parts where it has some. */
export async function readEntry(look: Look, { key, value }: Pick<Entry, "key" | "value">, revision: number): Promise<ReadEntry> {
  const { keys } = look.place;
  const seq = numberIn(key);
  const read = fromJson<LogValue>(value);
  if (!("parts" in read)) return { seq, bytes: value.length, entry: read };
  const folder = keys.parts(seq, read.nonce);
  const parts: Buffer[] = [];
  for await (const page of pages(look, { from: folder, to: afterPrefix(folder), revision })) parts.push(...page.map((part) => part.value));
  // Folded and deleted since the revision was heard of.
  if (parts.length !== read.parts)
    throw new EtcdFault("compacted", `entry ${seq} has ${read.parts} parts, of which ${parts.length} are there`);
  const whole = Buffer.concat(parts);
  return { seq, bytes: whole.length, entry: fromJson<LogEntry>(whole) };
}

/** Of every task that is live or stands in the log. */
async function specsOf(
  look: Look,
  log: readonly ReadEntry[],
  live: readonly Unspecified[],
  revision: number,
): Promise<(key: number) => TaskSpec> {
  const specs = new Map<number, TaskSpec>();
  for (const { entry } of log) for (const { key, spec } of entry.rows.created ?? []) specs.set(key, spec);
  const changed = log.flatMap(({ entry }) => entry.rows.changed ?? []);
  const wanted = new Set([...live, ...changed].map(({ key }) => key).filter((key) => !specs.has(key)));
  for (const [key, spec] of await readSpecs(look, [...wanted], revision)) specs.set(key, spec);
  return (key) => present(specs, key);
}

export function present(specs: ReadonlyMap<number, TaskSpec>, key: number): TaskSpec {
  const spec = specs.get(key);
  if (spec === undefined) throw new Error(`task ${key} has no spec`);
  return spec;
}

export async function readSpecs(look: Look, wanted: readonly number[], revision?: number): Promise<Map<number, TaskSpec>> {
  const specs = new Map<number, TaskSpec>();
  let at = 0;
  const read = async (): Promise<void> => {
    while (at < wanted.length) {
      const some = wanted.slice(at, (at += SPECS_PER_READ));
      const { found } = await look.get(some.map(keyOf(look.place.keys)), revision);
      for (const entry of found) if (entry !== undefined) specs.set(numberIn(entry.key), fromJson<TaskSpec>(entry.value));
    }
  };
  await Promise.all(Array.from({ length: READS_IN_FLIGHT_MAX }, read));
  return specs;
}

const keyOf =
  (keys: Keys) =>
  (key: number): string =>
    keys.spec(key);
