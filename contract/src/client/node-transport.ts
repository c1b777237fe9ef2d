/** The client's transport on node: node:http with kept connections. Never import this where a browser must follow. */
import type { IncomingMessage } from "node:http";
import { certificateFault, type Trust } from "./certificate.ts";
import {
  ConnectionBroken,
  REPLY_CHARS_MAX,
  type Channel,
  type HttpReply,
  type HttpRequest,
  type HttpStream,
  type Transport,
} from "./transport.ts";

/** Enough for the submits in flight and the waiting calls of one program; a call beyond it waits for its turn. */
const SOCKETS_MAX = 64;

/** Faults before a connection stood: nothing of the request was sent. */
const NOT_SENT = new Set(["ECONNREFUSED", "ENOTFOUND", "EAI_AGAIN", "EHOSTUNREACH", "ENETUNREACH", "EADDRNOTAVAIL"]);

/** `trust`: who may have certified a server of https://, and nobody else; the system's authorities unless said. */
export function nodeTransport(trust?: Trust): Transport {
  return (url) => openChannel(url, trust);
}

function openChannel({ origin, protocol, hostname, port }: URL, trust: Trust | undefined): Channel {
  // An import statement would read every export of node:http, and one of them loads all of undici: 50 ms of each command.
  const { Agent, request: start } = process.getBuiltinModule(protocol === "https:" ? "node:https" : "node:http");
  // Said aloud, because a variable of the environment could say otherwise.
  const tls = protocol === "https:" ? { rejectUnauthorized: true, ...(trust !== undefined && { ca: [...trust.authorities] }) } : {};
  const calls = new Agent({ keepAlive: true, maxSockets: SOCKETS_MAX, ...tls });
  // Streams have their own, so that many open ones never hold up a call.
  const streams = new Agent(tls);
  const host = hostname.replaceAll(/^\[|\]$/g, "");

  /** Resolves when the answer's headers are here; after that the answer itself tells of errors. */
  function open(agent: InstanceType<typeof Agent>, { method, path, headers, body, idleMs, signal }: HttpRequest): Promise<IncomingMessage> {
    return new Promise((resolve, reject) => {
      const request = start({ agent, host, port, method, path, headers, ...(signal !== undefined && { signal }) }, resolve);
      request.setTimeout(idleMs, () => request.destroy(new Error(`no answer within ${idleMs} ms`)));
      request.on("error", (cause) => reject(certificateFault(cause, origin, trust) ?? broken(cause)));
      request.end(body);
    });
  }

  async function send(request: HttpRequest): Promise<HttpReply> {
    const answer = await open(calls, request);
    answer.setEncoding("utf8");
    return new Promise((resolve, reject) => {
      let text = "";
      answer.on("data", (piece: string) => {
        text += piece;
        if (text.length > REPLY_CHARS_MAX) answer.destroy(new Error("the answer is too large"));
      });
      answer.on("end", () => resolve({ status: answer.statusCode ?? 0, retryAfter: answer.headers["retry-after"], text }));
      answer.on("error", (cause) => reject(broken(cause)));
      answer.on("close", () => {
        if (!answer.complete) reject(broken(new Error("the answer was cut")));
      });
    });
  }

  async function stream(request: HttpRequest): Promise<HttpStream> {
    const answer = await open(streams, request);
    answer.setEncoding("utf8");
    return { status: answer.statusCode ?? 0, retryAfter: answer.headers["retry-after"], pieces: pieces(answer) };
  }

  return {
    send,
    stream,
    soon: (run) => void setImmediate(run),
    close: () => {
      calls.destroy();
      streams.destroy();
    },
  };
}

async function* pieces(answer: IncomingMessage): AsyncGenerator<string> {
  try {
    for await (const piece of answer) yield piece as string;
  } catch (cause) {
    throw broken(cause);
  }
}

function broken(cause: unknown): ConnectionBroken {
  const { code, message } = cause as NodeJS.ErrnoException;
  return new ConnectionBroken(code ?? message, !NOT_SENT.has(code ?? ""), cause);
}
