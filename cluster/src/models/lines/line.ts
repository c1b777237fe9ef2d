/**
 * Questions and streamed answers over one connection, whoever has opened it: HTTP/2, of which each side can be the one that answers.
 * So no node listens for another one, each stream has its own flow control, and a reset ends one request and no other.
 *
 * L1. A reader that stands still holds back its own stream: at most WINDOW_BYTES of it wait on each side.
 * L2. An end that is not heard any more is given up after PING_MS and PONG_MS; what was under way then fails.
 * L3. Whoever asked and goes away is told to whoever answers, by the signal.
 * L4. An answer that was cut never looks like one that is over: its body fails.
 * L5. How far the other side is away is the shortest of the last ROUND_TRIPS_KEPT pings: a busy moment at either end makes one
 *     longer, and nothing makes one shorter than the way.
 */
import { connect, constants, performServerHandshake, type ClientHttp2Stream, type Http2Session, type ServerHttp2Stream } from "node:http2";
import { PassThrough, pipeline, Readable, type Duplex } from "node:stream";
import { ModelFault } from "../models.ts";

/** Of one stream, on each side: some hundred pieces of an answer. */
const WINDOW_BYTES = 64 * 1024;
const STREAMS_MAX = 512;
/** Headers are ours, and few. */
const HEADER_PAIRS_MAX = 64;
const PING_MS = 2_000;
const PONG_MS = 4_000;
/** L5: ten seconds of them, so that a way that has become longer is soon known. */
const ROUND_TRIPS_KEPT = 5;

const SETTINGS = { initialWindowSize: WINDOW_BYTES, maxConcurrentStreams: STREAMS_MAX, enablePush: false } as const;
const OPTIONS = { settings: SETTINGS, maxHeaderListPairs: HEADER_PAIRS_MAX };

export interface LineQuestion {
  readonly path: string;
  /** In lower case; values of any text. */
  readonly headers: Readonly<Record<string, string>>;
}

export interface LineAnswer {
  readonly status: number;
  readonly headers: Readonly<Record<string, string>>;
  /** Destroying it ends the request (L3). */
  readonly body: Readable;
}

export interface LineEnd {
  /** Resolves when the line is gone, however. */
  readonly ended: Promise<void>;
  /** L5. undefined until the first ping is answered, PING_MS after the beginning, and where there is nothing to ping. */
  readonly roundTripMs?: number | undefined;
  close(): void;
}

export type Answerer = (question: LineQuestion & { readonly body: Readable }, gone: AbortSignal) => Promise<LineAnswer>;

/** Answers what comes over the connection. What `answerer` throws ends that one request. */
export function answerOver(socket: Duplex, answerer: Answerer): LineEnd {
  const session = performServerHandshake(socket, OPTIONS);
  session.on("stream", (stream, { ":path": path = "", ...headers }) => {
    const gone = new AbortController();
    stream.on("error", () => undefined);
    stream.on("close", () => gone.abort());
    const question = { path, headers: read(headers), body: stream };
    answerer(question, gone.signal)
      .then((answer) => pass(answer, stream))
      .catch(() => stream.close(constants.NGHTTP2_INTERNAL_ERROR));
  });
  return endOf(session, socket);
}

function pass({ status, headers, body }: LineAnswer, stream: ServerHttp2Stream): void {
  if (stream.destroyed) return void body.destroy();
  // What was not read of the question would keep the stream open.
  stream.resume();
  try {
    stream.respond({ ":status": status, ...written(headers) });
  } catch (error) {
    // Not every status can be said.
    body.destroy();
    throw error;
  }
  pipeline(body, stream, (error) => {
    if (error) stream.close(constants.NGHTTP2_INTERNAL_ERROR);
  });
}

export interface AskingEnd extends LineEnd {
  /** Rejects with ModelFault unreachable where the line, or the other side, ends before an answer. */
  ask(question: LineQuestion & { readonly body?: string | Buffer | Readable }, signal: AbortSignal): Promise<LineAnswer>;
}

export function askOver(socket: Duplex): AskingEnd {
  const session = connect("http://line", { createConnection: () => socket, ...OPTIONS });
  const end = endOf(session, socket);
  return {
    ended: end.ended,
    get roundTripMs() {
      return end.roundTripMs;
    },
    close: () => end.close(),
    ask: ({ path, headers, body }, signal) =>
      new Promise((resolve, reject) => {
        if (session.destroyed || session.closed || signal.aborted) return reject(gone());
        const stream = session.request({ ":method": body === undefined ? "GET" : "POST", ":path": path, ...written(headers) });
        const abort = (): void => stream.close(constants.NGHTTP2_CANCEL);
        signal.addEventListener("abort", abort, { once: true });
        stream.on("close", () => {
          signal.removeEventListener("abort", abort);
          reject(gone());
        });
        stream.on("error", () => undefined);
        stream.on("response", ({ ":status": status = 502, ...more }) => resolve({ status, headers: read(more), body: bodyOf(stream) }));
        if (body instanceof Readable) body.pipe(stream);
        else stream.end(body);
      }),
  };
}

/** L4. A connection that is lost ends its streams as if they were over; only the code with which they close tells. */
function bodyOf(stream: ClientHttp2Stream): Readable {
  const body = new PassThrough();
  // Whoever reads it hears of its end; that nobody does is no fault.
  body.on("error", () => undefined);
  stream.pipe(body, { end: false });
  stream.on("close", () => (stream.rstCode === constants.NGHTTP2_NO_ERROR ? body.end() : body.destroy(gone())));
  body.on("close", () => stream.close(constants.NGHTTP2_CANCEL));
  return body;
}

const gone = (): ModelFault => new ModelFault("unreachable", "the line has ended");

/** Headers are ASCII; texts are not. */
function written(headers: Readonly<Record<string, string>>): Record<string, string> {
  return Object.fromEntries(Object.entries(headers).map(([name, value]) => [name, encodeURIComponent(value.toWellFormed())]));
}

function read(headers: Readonly<Record<string, unknown>>): Record<string, string> {
  return Object.fromEntries(
    Object.entries(headers).flatMap(([name, value]) => (name.startsWith(":") || typeof value !== "string" ? [] : [[name, decoded(value)]])),
  );
}

function decoded(value: string): string {
  try {
    return decodeURIComponent(value);
  } catch {
    return value;
  }
}

/** L2, L5. */
function endOf(session: Http2Session, socket: Duplex): LineEnd {
  // L4: without an error what is under way would end as if it were over.
  const end = (): void => session.destroy(gone());
  // A server's connections stay half open otherwise, for as long as nobody is missed.
  socket.once("end", end);
  const ended = new Promise<void>((resolve) => session.on("close", resolve));
  session.on("error", () => undefined);
  let pongDue: NodeJS.Timeout | undefined;
  let roundTrips: number[] = [];
  const pinging = setInterval(() => {
    if (pongDue !== undefined || session.destroyed) return;
    pongDue = setTimeout(end, PONG_MS);
    session.ping((error: Error | null, tookMs: number) => {
      clearTimeout(pongDue);
      pongDue = undefined;
      if (error === null) roundTrips = [...roundTrips, tookMs].slice(-ROUND_TRIPS_KEPT);
    });
  }, PING_MS);
  void ended.then(() => {
    clearInterval(pinging);
    clearTimeout(pongDue);
  });
  return {
    ended,
    get roundTripMs() {
      return roundTrips.length === 0 ? undefined : Math.min(...roundTrips);
    },
    close: end,
  };
}
