/**
 * How output is read from a node's stream.
 *
 * R1. A reader goes on after a server's restart where it stood: nothing twice, nothing left out.
 * R2. A stream that was made anew counts from 1 again; a reader notices and starts there.
 * R3. A reader that does not follow reads to what the stream's leader says is the last piece: the copy that it reads from may not
 *     have that yet, and would call an earlier one the last.
 */
import { setTimeout as delay } from "node:timers/promises";
import { JetStreamApiError, jetstream, jetstreamManager } from "@nats-io/jetstream";
import { ClusterError } from "@openclaw-cluster/contract/errors";
import { READ_AHEAD_PIECES, type Kept, type ReadOptions } from "./bus.ts";
import { decodeBody } from "./body.ts";
import { busError, isPassing, type Connection } from "./nats-connection.ts";
import { STREAM_NOT_FOUND } from "./nats-streams.ts";

/** A reader that does not follow gives up after this long without a server or a stream; above an election and a request that it has swallowed. */
const PATIENCE_MS = 20_000;
const RETRY_MS = 250;

/** Where one attempt's output is kept. */
export interface Place {
  readonly stream: string;
  /** As it is kept: with the node's word. */
  readonly subject: string;
  /** False: nobody is about to make the stream. Where it is not there, neither is anything to read. */
  isKept(): boolean;
}

interface Position {
  /** When the stream was made; tells a stream from its successor of the same name. */
  made: string;
  /** The next sequence number to read. */
  next: number;
  /** The last one to read, for a reader that does not follow. */
  last: number;
}

/** What is kept there, parsed. */
export async function* readOutput(connection: Connection, place: Place, options: ReadOptions): AsyncGenerator<Kept> {
  const position: Position = { made: "", next: 1, last: Number.POSITIVE_INFINITY };
  let silentSince = performance.now();
  while (options.signal?.aborted !== true) {
    try {
      if (!connection.connected) throw new ClusterError("bus_unreachable", "the connection is down");
      for await (const piece of readOnce(connection, place, options, position)) {
        yield piece;
        silentSince = performance.now();
      }
      if (!options.follow) return;
    } catch (thrown) {
      const error = busError(thrown, place.stream);
      if (!isPassing(error) || (!options.follow && performance.now() - silentSince > PATIENCE_MS)) throw error;
      await delay(RETRY_MS);
    }
  }
}

/** Reads until the end that was asked for, the reader's abort, or a change of the connection. */
async function* readOnce(connection: Connection, place: Place, options: ReadOptions, position: Position): AsyncGenerator<Kept> {
  const { nc } = connection;
  const manager = await jetstreamManager(nc, { checkAPI: false });
  const stream = await manager.streams.info(place.stream).catch((error: unknown) => {
    if (!(error instanceof JetStreamApiError) || error.code !== STREAM_NOT_FOUND) throw error;
    if (options.follow || place.isKept()) throw new ClusterError("bus_unreachable", "the output stream is not there yet", { cause: error });
    return undefined;
  });
  if (stream === undefined) return;
  if (position.made !== stream.created) {
    position.made = stream.created;
    position.next = 1;
    // R3
    if (!options.follow) position.last = (await manager.streams.getMessage(place.stream, { last_by_subj: place.subject }))?.seq ?? 0;
  }
  if (position.next > position.last) return;
  const consumer = await jetstream(nc).consumers.get(place.stream, { filter_subjects: place.subject, opt_start_seq: position.next });
  const messages = await consumer.consume({ max_messages: READ_AHEAD_PIECES });
  const stop = (): void => messages.stop();
  options.signal?.addEventListener("abort", stop, { once: true });
  // The client library would try to go on too, but at a place that a new stream does not have (R2).
  const status = connection.onStatus(stop);
  try {
    for await (const message of messages) {
      position.next = message.seq + 1;
      const body = decodeBody(message.data);
      // A node can write whatever it likes under its own id; one broken piece must not end the reading of a task's output.
      if (body !== undefined) yield { body };
      if (message.seq >= position.last) return;
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
