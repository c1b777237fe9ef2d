/**
 * One open stream of server-sent events, written straight to the node response: Hono's streams would copy each piece
 * through a web stream. Knows the format, the heartbeat and the limits; not what is sent.
 *
 * E1. Every stream ends: when the caller goes, when the server closes, or when its reader stalls.
 * E2. `full` says when more than STREAM.bufferedBytesMax wait for the reader; the sender decides what to do about it.
 * E3. All readers together hold no more than BACKLOG_BYTES_MAX (backlog.ts), and one piece each: while it is more, `room`
 *     waits until its own reader has taken everything, and streams that may be dropped are, the slowest first. A stream
 *     that has ended counts, also as one of LIMITS.streamsMax, until its connection is closed.
 * E4. Nobody holds all of them: each user has a share, and a reserve is left to those who can see to it (shares.ts).
 */
import type { ServerResponse } from "node:http";
import { ClusterError } from "@openclaw-cluster/contract/errors";
import type { Reader } from "../core/visibility.ts";
import type { Clock, Timer } from "../system/clock.ts";
import { SECURITY_HEADERS } from "./answers.ts";
import { Backlog, type Holder } from "./backlog.ts";
import { Shares } from "./shares.ts";

export const STREAM = {
  heartbeatMs: 15_000,
  /** What may wait in memory for one slow reader. */
  bufferedBytesMax: 4 * 1024 * 1024,
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

export interface StreamOptions {
  /** Whose it is. */
  readonly reader: Reader;
  /** Repeated with each heartbeat. */
  readonly lastId: () => string | undefined;
  /** The reader can come back for the rest: the stream may be dropped while all readers together hold too much. */
  readonly droppable?: {
    /** So many pieces are held besides what was sent; they are taken to be as large. */
    readonly piecesAhead: number;
    /** The last event. */
    readonly farewell: string;
  };
}

export interface Streams {
  /** Begins the answer. Throws `overloaded` when too many are open (E4). */
  open(outgoing: ServerResponse, options: StreamOptions): Stream;
  closeAll(): void;
}

export function openStreams(clock: Clock): Streams {
  const streams = new Set<Stream>();
  const backlog = new Backlog();
  const shares = new Shares();
  return {
    open(outgoing, options) {
      const refusal = shares.refusal(options.reader);
      if (refusal !== undefined) throw new ClusterError("overloaded", refusal, { retryAfterMs: STREAM.retryAfterMs });
      const share = shares.take(options.reader);
      const stream = openStream(outgoing, { clock, backlog, ...options });
      streams.add(stream);
      outgoing.once("close", () => {
        streams.delete(stream);
        share.giveBack();
      });
      return stream;
    },
    closeAll() {
      for (const stream of streams) stream.end();
    },
  };
}

interface StreamParts extends StreamOptions {
  readonly clock: Clock;
  readonly backlog: Backlog;
}

function openStream(outgoing: ServerResponse, { clock, lastId, droppable, backlog }: StreamParts): Stream {
  const over = new AbortController();
  const holder: Holder = droppable === undefined ? {} : { drop: () => end(droppable.farewell) };
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
  const drained = async (): Promise<void> => {
    if (outgoing.writableNeedDrain && !over.signal.aborted) await new Promise<void>((resolve) => (wake = resolve));
  };
  const stopWatching = (): void => {
    backlog.hold(holder, 0);
    stall?.cancel();
    stall = undefined;
    wake?.();
  };
  const finish = (): void => {
    heartbeat?.cancel();
    over.abort();
    wake?.();
  };
  const end = (events?: string): void => {
    if (over.signal.aborted) return;
    outgoing.end(events);
    watchStall();
    finish();
    // What was read ahead is let go.
    backlog.hold(holder, outgoing.writableLength);
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
      watchStall();
      backlog.hold(holder, outgoing.writableLength + events.length * (droppable?.piecesAhead ?? 0));
    },
    drained,
    room: () => (backlog.full ? drained() : Promise.resolve()),
    end,
  };
}

/** One event in the format. The data is JSON, so it holds no line break. */
export function event(data: unknown, options: { id?: string | number; name?: string } = {}): string {
  const name = options.name === undefined ? "" : `event: ${options.name}\n`;
  const id = options.id === undefined ? "" : `id: ${options.id}\n`;
  return `${name}${id}data: ${JSON.stringify(data)}\n\n`;
}
