/**
 * The two streams of the bus, and how they are read. Both hold only what can be lost: if their folder is deleted, the
 * coordinator makes them again, empty, at its next connection.
 *
 * R1. A reader goes on after a server's restart where it stood: nothing twice, nothing left out.
 * R2. A stream that was made anew counts from 1 again; a reader notices and starts there.
 */
import { setTimeout as delay } from "node:timers/promises";
import {
  DiscardPolicy,
  JetStreamApiError,
  jetstream,
  jetstreamManager,
  RetentionPolicy,
  StorageType,
  type StreamConfig,
} from "@nats-io/jetstream";
import { nanos } from "@nats-io/nats-core";
import type { NatsConnection } from "@nats-io/transport-node";
import { ClusterError } from "@openclaw-cluster/contract/errors";
import { READ_AHEAD_PIECES, type Kept, type ReadOptions } from "./bus.ts";
import { decodeBody } from "./body.ts";
import { busError, type Connection } from "./nats-connection.ts";
import { ANY_BLOB, ANY_OUTPUT } from "./subjects.ts";

export const OUTPUT = "OCX_OUTPUT";
export const BLOBS = "OCX_BLOBS";

const KEPT_MS = 7 * 86_400_000;
const OUTPUT_BYTES_MAX = 1024 ** 3;
const BLOB_BYTES_MAX = 2 * 1024 ** 3;
/** Pieces of one attempt; beyond it the oldest go. Their bytes are limited by the worker. */
const PIECES_MAX = 65_536;
/** A reader that does not follow gives up after this long without a server or a stream. */
const PATIENCE_MS = 10_000;
const RETRY_MS = 250;

const STREAM_NOT_FOUND = 10_059;

const COMMON = {
  retention: RetentionPolicy.Limits,
  storage: StorageType.File,
  discard: DiscardPolicy.Old,
  max_age: nanos(KEPT_MS),
  allow_direct: true,
  num_replicas: 1,
} satisfies Partial<StreamConfig>;

const STREAMS: readonly (Partial<StreamConfig> & { name: string; subjects: string[] })[] = [
  { ...COMMON, name: OUTPUT, subjects: [ANY_OUTPUT], max_bytes: OUTPUT_BYTES_MAX, max_msgs_per_subject: PIECES_MAX },
  // A part that is written again, after a broken try, replaces itself.
  { ...COMMON, name: BLOBS, subjects: [ANY_BLOB], max_bytes: BLOB_BYTES_MAX, max_msgs_per_subject: 1 },
];

/**
 * Corrects what differs and makes what is missing. Only the coordinator may. In this order: the server takes a stream
 * that is there already for a further one when it asks whether there is room for it.
 */
export async function ensureStreams(nc: NatsConnection): Promise<void> {
  const manager = await jetstreamManager(nc, { checkAPI: false });
  for (const config of STREAMS) {
    try {
      await manager.streams.update(config.name, config).catch((error: unknown) => {
        if (error instanceof JetStreamApiError && error.code === STREAM_NOT_FOUND) return manager.streams.add(config);
        throw error;
      });
    } catch (error) {
      throw busError(error, `stream ${config.name}`);
    }
  }
}

interface Position {
  /** When the stream was made; tells a stream from its successor of the same name. */
  made: string;
  /** The next sequence number to read. */
  next: number;
  /** The last one to read, for a reader that does not follow. */
  last: number;
}

/** Pieces of the output stream whose subject fits the pattern, parsed. */
export async function* readOutput(connection: Connection, pattern: string, options: ReadOptions): AsyncGenerator<Kept> {
  const position: Position = { made: "", next: 1, last: Number.POSITIVE_INFINITY };
  let silentSince = performance.now();
  while (options.signal?.aborted !== true) {
    try {
      if (!connection.connected) throw new ClusterError("bus_unreachable", "the connection is down");
      for await (const piece of readOnce(connection, pattern, options, position)) {
        yield piece;
        silentSince = performance.now();
      }
      if (!options.follow) return;
    } catch (thrown) {
      const error = busError(thrown, `output ${pattern}`);
      const passing = error.code === "bus_timeout" || error.code === "bus_unreachable";
      if (!passing || (!options.follow && performance.now() - silentSince > PATIENCE_MS)) throw error;
      await delay(RETRY_MS);
    }
  }
}

/** Reads until the end that was asked for, the reader's abort, or a change of the connection. */
async function* readOnce(connection: Connection, pattern: string, options: ReadOptions, position: Position): AsyncGenerator<Kept> {
  const { nc } = connection;
  const manager = await jetstreamManager(nc, { checkAPI: false });
  const stream = await manager.streams.info(OUTPUT).catch((error: unknown) => {
    // The coordinator is about to make it again.
    if (error instanceof JetStreamApiError && error.code === STREAM_NOT_FOUND)
      throw new ClusterError("bus_unreachable", "the output stream is being made", { cause: error });
    throw error;
  });
  if (position.made !== stream.created) {
    position.made = stream.created;
    position.next = 1;
    if (!options.follow) position.last = stream.state.last_seq;
  }
  const consumer = await jetstream(nc).consumers.get(OUTPUT, { filter_subjects: pattern, opt_start_seq: position.next });
  const messages = await consumer.consume({ max_messages: READ_AHEAD_PIECES });
  const stop = (): void => messages.stop();
  options.signal?.addEventListener("abort", stop, { once: true });
  // The client library would try to go on too, but at a place that a new stream does not have (R2).
  const status = connection.onStatus(stop);
  try {
    if (!options.follow && (await consumer.info(true)).num_pending === 0) return;
    for await (const message of messages) {
      if (message.seq > position.last) return;
      position.next = message.seq + 1;
      const body = decodeBody(message.data);
      // A node can write whatever it likes under its own id; one broken piece must not end the reading of a task's output.
      if (body !== undefined) yield { subject: message.subject, body };
      if (!options.follow && (message.info.pending === 0 || message.seq === position.last)) return;
    }
    // Stopped from outside before the end that was asked for.
    if (!options.follow && options.signal?.aborted !== true)
      throw new ClusterError("bus_unreachable", "the connection was lost while reading");
  } finally {
    status.stop();
    options.signal?.removeEventListener("abort", stop);
    stop();
    // The server would do it by itself after five minutes.
    consumer.delete().catch(() => undefined);
  }
}
