/**
 * One open stream of server-sent events, written straight to the node response: Hono's streams would copy each piece
 * through a web stream. Knows the format, the heartbeat and the limits; not what is sent.
 *
 * E1. Every stream ends: when the caller goes, when the server closes, or when its reader stalls.
 * E2. `full` says when more than STREAM.bufferedBytesMax wait for the reader; the sender decides what to do about it.
 * E3. While more than STREAM.allBufferedBytesMax wait for all readers together, `room` waits until its own reader has taken
 *     everything; so a thousand stalled readers hold no more than that and one piece each. Streams that have ended count
 *     until their connection is closed.
 */
import type { ServerResponse } from "node:http";
import { ClusterError } from "@openclaw-cluster/contract/errors";
import { LIMITS } from "@openclaw-cluster/contract/limits";
import type { Clock, Timer } from "../system/clock.ts";
import { SECURITY_HEADERS } from "./answers.ts";

export const STREAM = {
  heartbeatMs: 15_000,
  /** What may wait in memory for one slow reader. */
  bufferedBytesMax: 4 * 1024 * 1024,
  /** What may wait for all of them. */
  allBufferedBytesMax: 64 * 1024 * 1024,
  /** What is sent without asking for room again. */
  pieceCharsMax: 64 * 1024,
  /** A reader that takes nothing for this long is cut off. */
  stallMs: 60_000,
  retryAfterMs: 5_000,
} as const;
const HEADERS = { "content-type": "text/event-stream", "x-accel-buffering": "no", ...SECURITY_HEADERS };

export interface Stream {
  /** Aborts when the stream is over, whoever ended it. */
  readonly signal: AbortSignal;
  readonly full: boolean;
  /** Sends whole events, already in the format. */
  send(events: string): void;
  /** Resolves when the reader has taken what was sent, or the stream is over. */
  drained(): Promise<void>;
  /** Resolves when more may be sent (E3). */
  room(): Promise<void>;
  /** Sends these last events and ends. */
  end(events?: string): void;
}

export interface Streams {
  /** Begins the answer. Throws `overloaded` when too many are open. `lastId` is repeated with each heartbeat. */
  open(outgoing: ServerResponse, lastId: () => string | undefined): Stream;
  closeAll(): void;
}

export function openStreams(clock: Clock): Streams {
  const streams = new Set<Stream>();
  const all: Buffered = { bytes: 0 };
  return {
    open(outgoing, lastId) {
      if (streams.size >= LIMITS.streamsMax) {
        throw new ClusterError("overloaded", `${LIMITS.streamsMax} streams are open; close one.`, { retryAfterMs: STREAM.retryAfterMs });
      }
      const stream = openStream(outgoing, { clock, lastId, all });
      streams.add(stream);
      stream.signal.addEventListener("abort", () => streams.delete(stream), { once: true });
      return stream;
    },
    closeAll() {
      for (const stream of streams) stream.end();
    },
  };
}

/** What waits for all readers together. */
interface Buffered {
  bytes: number;
}

interface StreamParts {
  readonly clock: Clock;
  readonly lastId: () => string | undefined;
  readonly all: Buffered;
}

function openStream(outgoing: ServerResponse, { clock, lastId, all }: StreamParts): Stream {
  const over = new AbortController();
  let ownBytes = 0;
  let heartbeat: Timer | undefined;
  let stall: Timer | undefined;
  let wake: (() => void) | undefined;

  const beat = (): void => {
    heartbeat = clock.after(STREAM.heartbeatMs, () => {
      const id = lastId();
      // An id without data moves the reader's Last-Event-ID and shows it nothing.
      if (!outgoing.writableNeedDrain) outgoing.write(id === undefined ? ":\n\n" : `id: ${id}\n\n`);
      beat();
    });
  };
  const watchStall = (): void => {
    stall ??= clock.after(STREAM.stallMs, () => outgoing.destroy());
  };
  const count = (bytes: number): void => {
    all.bytes += bytes - ownBytes;
    ownBytes = bytes;
  };
  const drained = async (): Promise<void> => {
    if (outgoing.writableNeedDrain && !over.signal.aborted) await new Promise<void>((resolve) => (wake = resolve));
  };
  const stopWatching = (): void => {
    count(0);
    stall?.cancel();
    stall = undefined;
    wake?.();
  };
  const finish = (): void => {
    heartbeat?.cancel();
    over.abort();
    wake?.();
  };

  outgoing.writeHead(200, HEADERS);
  outgoing.flushHeaders();
  outgoing.on("drain", stopWatching);
  outgoing.on("close", () => {
    stopWatching();
    finish();
  });
  beat();
  return {
    signal: over.signal,
    get full() {
      return outgoing.writableLength > STREAM.bufferedBytesMax;
    },
    send(events) {
      if (over.signal.aborted || outgoing.write(events)) return;
      count(outgoing.writableLength);
      watchStall();
    },
    drained,
    room: () => (all.bytes > STREAM.allBufferedBytesMax ? drained() : Promise.resolve()),
    end(events) {
      if (over.signal.aborted) return;
      outgoing.end(events);
      watchStall();
      finish();
    },
  };
}

/** One event in the format. The data is JSON, so it holds no line break. */
export function event(data: unknown, options: { id?: string | number; name?: string } = {}): string {
  const name = options.name === undefined ? "" : `event: ${options.name}\n`;
  const id = options.id === undefined ? "" : `id: ${options.id}\n`;
  return `${name}${id}data: ${JSON.stringify(data)}\n\n`;
}
