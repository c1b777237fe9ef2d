/**
 * A model server that misbehaves, on the loopback: it lists one model for each way to, and whoever asks that model gets it.
 *
 * B1. What it says is written to the socket as it is, so that HTTP itself can be broken too.
 * B2. A flood waits while its reader does, and ends with the connection; how much of it was written is kept.
 */
import { once } from "node:events";
import { createServer, type IncomingMessage, type ServerResponse } from "node:http";
import type { AddressInfo, Socket } from "node:net";
import { gzipSync } from "node:zlib";

export interface BadModelServer {
  /** Without a path. */
  readonly url: string;
  /** Of each question: its model, the bytes that were written, and whether its connection has closed. */
  readonly questions: readonly BadQuestion[];
  /** From now on this model answers as it should. */
  heal(model: string): void;
  stop(): Promise<void>;
}

export interface BadQuestion {
  readonly model: string;
  bytes: number;
  isClosed: boolean;
}

const MIB = 1024 * 1024;
/** As much as nobody should ever take in; a connection that is still open then has no limit. */
const FLOOD_BYTES = 1024 * MIB;
const CRLF = "\r\n";
/** Until what was said before has been passed on. */
const LATE_MS = 200;

const head = (status: string, type: string, ...more: string[]): string =>
  [`HTTP/1.1 ${status}`, `content-type: ${type}`, ...more, "connection: close", "", ""].join(CRLF);
const EVENTS = head("200 OK", "text/event-stream");
const JSON_HEAD = head("200 OK", "application/json");
const event = (json: unknown): string => `data: ${JSON.stringify(json)}\n\n`;
const delta = (content: string, finish: string | null = null): string =>
  event({ choices: [{ index: 0, delta: { content }, finish_reason: finish }] });
const ROLE = event({ choices: [{ index: 0, delta: { role: "assistant", content: "" }, finish_reason: null }] });
const WORDS = ROLE + delta("alpha") + delta(" bravo");
const BEGUN = EVENTS + WORDS;
const WELL = `${EVENTS}${delta("well")}${delta("", "stop")}data: [DONE]\n\n`;

type Say = (socket: Socket, elsewhere: string) => void;
/** All of it, and the connection ends as if that were right. */
const says =
  (...words: (string | Uint8Array)[]): Say =>
  (socket) => {
    for (const one of words) socket.write(one);
    socket.end();
  };
/** And then nothing more. */
const stalls =
  (words = ""): Say =>
  (socket) =>
    void socket.write(words);
const breaks =
  (words = ""): Say =>
  (socket) =>
    void socket.write(words, () => setTimeout(() => socket.resetAndDestroy(), words === "" ? 0 : LATE_MS));
/** B2 */
const floods =
  (first: string, piece: string | Uint8Array): Say =>
  (socket) => {
    socket.write(first);
    const block = Buffer.from(piece);
    const many = Buffer.concat(Array.from({ length: Math.max(1, Math.floor((64 * 1024) / block.length)) }, () => block));
    const pour = (): void => {
      while (!socket.destroyed && socket.bytesWritten < FLOOD_BYTES) if (!socket.write(many)) return void socket.once("drain", pour);
    };
    pour();
  };
const chunked = (type: string): string => head("200 OK", type, "transfer-encoding: chunked");

/** By the model's name. Those that are told to be an embedder are asked for embeddings. */
const WAYS = {
  text: says(head("200 OK", "text/plain"), "hello there"),
  page: says(head("200 OK", "text/html"), "<!doctype html><title>It works</title>"),
  "half-json": says(JSON_HEAD, '{"choices":[{"message":'),
  "other-json": says(JSON_HEAD, "42"),
  "no-event": says(EVENTS),
  "bad-event": says(EVENTS, "data: {]\n\n"),
  "bad-utf8": says(
    EVENTS,
    ROLE,
    Buffer.from('data: {"choices":[{"index":0,"delta":{"content":"\xff\xfe"}}]}\n\n', "latin1"),
    "data: [DONE]\n\n",
  ),
  "bytes-of-another-protocol": says("SSH-2.0-OpenSSH_9.9\r\n\0\0\x01\x02"),
  "status-500": says(head("500 Internal Server Error", "application/json"), '{"error":{"message":"scripted failure"}}'),
  "status-503-page": says(head("503 Service Unavailable", "text/html"), "<h1>Busy</h1>"),
  "status-999": says(head("999 What", "application/json"), "{}"),
  "status-204": says(head("204 No Content", "text/plain")),
  "status-101": says(["HTTP/1.1 101 Switching Protocols", "connection: upgrade", "upgrade: x", "", ""].join(CRLF)),
  redirect: (socket, elsewhere) =>
    says(head("307 Temporary Redirect", "text/plain", `location: ${elsewhere}/v1/chat/completions`))(socket, elsewhere),
  "large-headers": says(`HTTP/1.1 200 OK\r\nx-large: ${"x".repeat(MIB)}\r\n\r\n`),
  "many-headers": says(`HTTP/1.1 200 OK\r\n${"x-many: 1\r\n".repeat(100_000)}\r\n`),
  "bad-chunks": says(chunked("text/event-stream"), `zz\r\n${ROLE}\r\n`),
  "bad-chunks-late": (socket) => {
    socket.write(`${chunked("text/event-stream")}${WORDS.length.toString(16)}\r\n${WORDS}\r\n`);
    setTimeout(() => socket.end("zz\r\n"), LATE_MS);
  },
  "two-lengths": says(head("200 OK", "application/json", "content-length: 2", "content-length: 3"), "{} "),
  "short-body": says(head("200 OK", "application/json", "content-length: 1000"), '{"choices":[]}'),
  "gzip-bomb": (socket) => says(head("200 OK", "text/event-stream", "content-encoding: gzip"), bomb())(socket, ""),
  "gzip-bomb-json": (socket) => says(head("200 OK", "application/json", "content-encoding: gzip"), bomb())(socket, ""),
  "page-again": says(head("200 OK", "text/html"), "<!doctype html>"),
  closes: breaks(),
  "closes-after-headers": breaks(EVENTS),
  "closes-late": breaks(BEGUN),
  "ends-late": says(BEGUN),
  stalls: stalls(),
  "stalls-after-headers": stalls(EVENTS),
  "stalls-late": stalls(BEGUN),
  "floods-one-line": floods(`${EVENTS}data: {"x":"`, "x"),
  "floods-lines": floods(`${EVENTS}data: {}\n`, ":\n"),
  "floods-json": floods(`${JSON_HEAD}{"choices":["`, "x"),
  "floods-bytes": floods(EVENTS, "x"),
  "floods-error": floods(head("500 Internal Server Error", "application/json"), "x"),
  "floods-one-byte-chunks": floods(`${chunked("application/json")}1\r\n{\r\n`, "1\r\n \r\n"),
  "floods-roles": floods(EVENTS, ROLE),
  "floods-blank-lines": floods(EVENTS, "\n"),
  "floods-events": floods(EVENTS, delta("x".repeat(1_000))),
  "floods-small-events": floods(EVENTS, "data:{}\n\n"),
  "floods-embed": floods(`${JSON_HEAD}{"data":[`, "0.125,"),
  "floods-embed-one-byte-chunks": floods(`${chunked("application/json")}1\r\n{\r\n`, "1\r\n1\r\n"),
  "page-embed": says(head("200 OK", "text/html"), "<!doctype html>"),
  "bad-utf8-embed": says(JSON_HEAD, Buffer.from('{"data":["\xff\xfe"]}', "latin1")),
} satisfies Record<string, Say>;

export type BadWay = keyof typeof WAYS;
export const BAD_WAYS = Object.keys(WAYS) as readonly BadWay[];

let packed: Buffer | undefined;
/** 256 MiB of nothing in 256 KiB. */
const bomb = (): Buffer => (packed ??= gzipSync(Buffer.alloc(256 * MIB)));

/** `elsewhere`: where a redirect leads. */
export async function startBadModelServer(elsewhere: string): Promise<BadModelServer> {
  const questions: BadQuestion[] = [];
  const well = new Set<string>();
  async function answer(request: IncomingMessage, response: ServerResponse): Promise<void> {
    if (request.method === "GET") {
      const isList = request.url === "/v1/models";
      const data = BAD_WAYS.map((id) => ({ id, object: "model", created: 0, owned_by: "nobody" }));
      return void response
        .writeHead(isList ? 200 : 404, { "content-type": "application/json" })
        .end(JSON.stringify({ object: "list", data }));
    }
    const pieces: Buffer[] = [];
    for await (const piece of request as AsyncIterable<Buffer>) pieces.push(piece);
    const { model } = JSON.parse(Buffer.concat(pieces).toString()) as { model: BadWay };
    const { socket } = request;
    const question: BadQuestion = { model, bytes: 0, isClosed: false };
    questions.push(question);
    socket.on("error", () => undefined);
    const before = socket.bytesWritten;
    socket.once("close", () => Object.assign(question, { isClosed: true, bytes: socket.bytesWritten - before }));
    (well.has(model) ? says(WELL) : WAYS[model])(socket, elsewhere);
  }
  const server = createServer((request, response) => void answer(request, response).catch(() => request.socket.destroy()));
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    questions,
    heal: (model) => void well.add(model),
    async stop() {
      const closed = once(server, "close");
      server.close();
      server.closeAllConnections();
      await closed;
    },
  };
}
