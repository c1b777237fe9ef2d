/**
 * The streams of the bus: two for each node, one for its output and one for its blobs. They hold only what can be lost: where
 * their folder is deleted, they are made again, empty.
 *
 * S1. A node's streams take nothing but what that node writes (nats-words.ts), and no more than its share (nats-shares.ts).
 * S2. Nobody purges a stream or deletes of it, the coordinator neither: to a server older than 2.12 an acknowledgement looks
 *     like such a request, and any node can have one sent there.
 * S3. The streams of a node that is gone are kept until what they hold is too old, a week at most, then removed.
 */
import {
  DiscardPolicy,
  jetstreamManager,
  RetentionPolicy,
  StorageType,
  type JetStreamManager,
  type StreamConfig,
  type StreamInfo,
} from "@nats-io/jetstream";
import { nanos } from "@nats-io/nats-core";
import type { NatsConnection } from "@nats-io/transport-node";
import type { NodeId } from "@openclaw-cluster/contract/ids";
import type { Log } from "../system/log.ts";
import { busError } from "./nats-connection.ts";
import { shareOf, type Share } from "./nats-shares.ts";
import { anyBlob, anyOutput } from "./subjects.ts";

const OUTPUT = "OCX_OUT_";
const BLOBS = "OCX_BLOB_";
/** Of all nodes together, before each had its own. They stand where the others listen. */
const SHARED = ["OCX_OUTPUT", "OCX_BLOBS"];

export const outputStream = (node: NodeId): string => OUTPUT + node;
export const blobStream = (node: NodeId): string => BLOBS + node;

const KEPT_MS = 7 * 86_400_000;
/** Pieces of one attempt; beyond it the oldest go. Their bytes are limited by the worker. */
const PIECES_MAX = 65_536;

export const STREAM_NOT_FOUND = 10_059;

type Config = Partial<StreamConfig> & { name: string; subjects: string[] };

const COMMON = {
  retention: RetentionPolicy.Limits,
  storage: StorageType.File,
  discard: DiscardPolicy.Old,
  max_age: nanos(KEPT_MS),
  allow_direct: true,
  deny_purge: true,
  deny_delete: true,
  num_replicas: 1,
} satisfies Partial<StreamConfig>;

function streamsOf(node: NodeId, word: string, { outputBytes, blobBytes }: Share): Config[] {
  return [
    { ...COMMON, name: outputStream(node), subjects: [anyOutput(node, word)], max_bytes: outputBytes, max_msgs_per_subject: PIECES_MAX },
    // A part that is written again, after a broken try, replaces itself.
    { ...COMMON, name: blobStream(node), subjects: [anyBlob(node, word)], max_bytes: blobBytes, max_msgs_per_subject: 1 },
  ];
}

/** Corrects what differs, makes what is missing, removes what nobody needs. Only the coordinator may. */
export async function ensureStreams(
  nc: NatsConnection,
  nodes: readonly NodeId[],
  wordOf: (node: NodeId) => string,
  log: Log,
): Promise<void> {
  try {
    const manager = await jetstreamManager(nc, { checkAPI: false });
    const there = new Map<string, StreamInfo>();
    for await (const info of manager.streams.list()) there.set(info.config.name, info);
    for (const name of SHARED) {
      if (!there.has(name)) continue;
      await manager.streams.delete(name);
      log.warn({ stream: name }, "removed a stream of an older version; the output or large results in it are gone, tasks are not");
    }
    const share = shareOf(nodes.length);
    const wanted = nodes.flatMap((node) => streamsOf(node, wordOf(node), share));
    const kept = new Set(wanted.map(({ name }) => name));
    for (const [name, { state }] of there) {
      // S3
      const isOurs = name.startsWith(OUTPUT) || name.startsWith(BLOBS);
      if (isOurs && !kept.has(name) && state.messages === 0) await manager.streams.delete(name);
    }
    for (const config of wanted) await ensureStream(manager, config, there.get(config.name));
  } catch (error) {
    throw busError(error, "streams");
  }
}

async function ensureStream(manager: JetStreamManager, config: Config, there: StreamInfo | undefined): Promise<void> {
  if (there === undefined) await manager.streams.add(config);
  else if (differs(config, there.config)) await manager.streams.update(config.name, config);
}

function differs(wanted: Config, there: StreamConfig): boolean {
  const actual = new Map<string, unknown>(Object.entries(there));
  return Object.entries(wanted).some(([key, value]) => JSON.stringify(value) !== JSON.stringify(actual.get(key)));
}
