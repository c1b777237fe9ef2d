/**
 * One request over a socket of its own, written byte by byte as it is, and what comes back. A stream of events is read to its
 * end where it has one, else for a while.
 */
import { connect, type Socket } from "node:net";
import { SseReader, type ServerEvent } from "@openclaw-cluster/contract/client/sse";
import { AnswerReading, type Head } from "./answer-reading.ts";

export interface Sent {
  readonly method: string;
  readonly target: string;
  readonly headers: readonly (readonly [name: string, value: string])[];
  readonly body: Buffer | undefined;
}

export interface Answer extends Head {
  /** Of a stream: nothing. */
  readonly text: string;
  readonly stream?: Streamed;
}

export interface Streamed {
  readonly events: readonly ServerEvent[];
  /** The server has ended it; else it was left. */
  readonly ended: boolean;
}

/** Nothing that is asked here takes so long; an answer that has not come by then counts as none. */
const PATIENCE_MS = 15_000;
/** So long a stream is listened to that need not end, from its head on. */
const LISTEN_MS = 50;

export interface Manner {
  /** A stream must end by itself, or there is no answer. */
  readonly toItsEnd?: boolean;
}

export function exchange(port: number, sent: Sent, { toItsEnd = false }: Manner = {}): Promise<Answer> {
  const first = requestLine(sent);
  return new Promise((resolve, reject) => {
    const socket = send(port, sent);
    const reading = new AnswerReading();
    const events = new SseReader();
    // A stream's text is UTF-8, or it is none that a client could read.
    const text = new TextDecoder("utf-8", { fatal: true });
    const heard: ServerEvent[] = [];
    const body: Buffer[] = [];
    let listening: NodeJS.Timeout | undefined;
    const late = setTimeout(() => socket.destroy(new Error(`no answer to ${first} in ${PATIENCE_MS} ms`)), PATIENCE_MS);
    const finish = (ended: boolean): void => {
      if (reading.head !== undefined) resolve(answerOf(reading.head, body, isStream(reading.head) ? { events: heard, ended } : undefined));
      socket.destroy();
    };
    socket.on("data", (piece: Buffer) => {
      const its = reading.push(piece);
      if (reading.head === undefined) return;
      try {
        if (isStream(reading.head)) heard.push(...events.push(text.decode(its, { stream: true })));
        else body.push(its);
      } catch (error) {
        // What our own client could not read.
        socket.destroy(error as Error);
      }
      if (reading.whole) finish(true);
      else if (isStream(reading.head) && !toItsEnd) listening ??= setTimeout(() => finish(false), LISTEN_MS);
    });
    // A reset after the answer is one way of ending a request that was not read to its end.
    let failure: Error | undefined;
    socket.on("error", (error) => (failure = error));
    socket.on("close", () => {
      clearTimeout(late);
      clearTimeout(listening);
      const { head } = reading;
      if (head !== undefined && isWithoutLength(head)) finish(true);
      reject(new Error(`no whole answer to ${first}: ${failure?.message ?? "it was closed"}`));
    });
  });
}

export function send(port: number, sent: Sent): Socket {
  const { headers, body } = sent;
  const lines = [
    requestLine(sent),
    `host: 127.0.0.1:${port}`,
    "connection: close",
    ...headers.map(([name, value]) => `${name}: ${value.replaceAll(/[\r\n]/g, " ")}`),
    ...(body === undefined ? [] : [`content-length: ${body.length}`]),
  ];
  const socket = connect(port, "127.0.0.1");
  socket.write(Buffer.concat([Buffer.from(`${lines.join("\r\n")}\r\n\r\n`, "latin1"), body ?? Buffer.alloc(0)]));
  return socket;
}

/** What cannot stand in a request line would be another request. */
const requestLine = ({ method, target }: Sent): string => `${method} ${target.replaceAll(/[\r\n ]/g, "+")} HTTP/1.1`;

const isStream = ({ headers }: Head): boolean => headers.get("content-type") === "text/event-stream";
const isWithoutLength = ({ headers }: Head): boolean => !headers.has("content-length") && !headers.has("transfer-encoding");

function answerOf(head: Head, body: readonly Buffer[], stream: Streamed | undefined): Answer {
  return { ...head, text: Buffer.concat(body).toString("utf8"), ...(stream !== undefined && { stream }) };
}
