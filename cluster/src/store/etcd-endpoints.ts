/**
 * HTTP to whichever of etcd's members can be reached: the JSON gateway that every member has (docs/decisions/0013-etcd-store.md).
 *
 * N1. One endpoint is asked until it fails; then the next one is, and stays, until `comeHome`: the first one is the nearest, and a farther
 *     one is cut off with its machine.
 * N2. What may have arrived is asked again only where asking twice does no harm (`safe`).
 */
import type { Agent, IncomingMessage } from "node:http";
import { certificateFault } from "@openclaw-cluster/contract/client/certificate";
import { CALL_MS, EtcdFault, type CallOptions } from "./etcd-client.ts";

export interface EndpointOptions {
  /** `http://…` or `https://…`, all of them of one cluster. A function is asked at each call; never none. */
  readonly endpoints: readonly string[] | (() => readonly string[]);
  /** For https. A function is asked at each call: another object counts from the next connection on. */
  readonly tls?: EtcdTls | (() => EtcdTls);
}

/** Who may have certified etcd, and this side's own certificate. PEM. */
export interface EtcdTls {
  readonly authority?: string;
  readonly certificate?: string;
  readonly key?: string;
}

export interface Ask extends CallOptions {
  readonly safe: boolean;
  /** This one and no other. */
  readonly endpoint?: string;
}

export const LOOK = { safe: true };
export const CHANGE = { safe: false };

/** Enough for a store that keeps several transactions in flight beside its watch and its lease. */
const SOCKETS_MAX = 16;
/** Before a connection stood. */
const NOT_SENT = new Set(["ECONNREFUSED", "ENOTFOUND", "EAI_AGAIN", "EHOSTUNREACH", "ENETUNREACH", "EADDRNOTAVAIL"]);
/** TLS's words for a certificate that the other side does not take. It comes before the other side has read anything. */
const NOT_LET_IN =
  /^ERR_SSL_.*_ALERT_(BAD_CERTIFICATE|UNSUPPORTED_CERTIFICATE|CERTIFICATE_\w+|UNKNOWN_CA|ACCESS_DENIED|HANDSHAKE_FAILURE)$/;

/** gRPC's codes, of which etcd uses these. */
const CANCELLED = 1;
/** Nothing that the store asks is answered so; but a member that was removed a moment ago says it ("raft: stopped"). */
const UNKNOWN = 2;
const DEADLINE_EXCEEDED = 4;
const NOT_FOUND = 5;
const PERMISSION_DENIED = 7;
const RESOURCE_EXHAUSTED = 8;
const OUT_OF_RANGE = 11;
const INTERNAL = 13;
const UNAVAILABLE = 14;
const UNAUTHENTICATED = 16;

export class Endpoints {
  private readonly named: EndpointOptions["endpoints"];
  private readonly agents = new Map<string, { readonly agent: Agent; readonly tls: EtcdTls | undefined }>();
  private readonly tls: EndpointOptions["tls"];
  /** Counts on; by the number of endpoints, which it is. */
  private current = 0;
  private readonly streams = new Map<IncomingMessage, number>();

  constructor({ endpoints, tls }: EndpointOptions) {
    this.named = endpoints;
    this.tls = tls;
  }

  /** The answer's JSON. */
  async ask(path: string, body: unknown, ask: Ask): Promise<Record<string, unknown>> {
    const text = JSON.stringify(body);
    const answer = await this.tryEach(ask, async (url) => readAll(await this.send(url, path, text, ask)));
    return JSON.parse(answer) as Record<string, unknown>;
  }

  /** The answer's body as it comes, when its headers are here. To be ended by `leave`. */
  async stream(path: string, body: unknown, signal: AbortSignal): Promise<IncomingMessage> {
    let at = this.current;
    const ask = (url: URL, tried: number): Promise<IncomingMessage> => {
      at = tried;
      return this.send(url, path, JSON.stringify(body), { signal, timeoutMs: CALL_MS });
    };
    const answer = await this.tryEach({ safe: true, signal }, ask);
    this.streams.set(answer, at);
    return answer;
  }

  /** It has ended: where its endpoint is still the one that is asked, the next one is from now on. */
  leave(stream: IncomingMessage): void {
    if (this.streams.get(stream) === this.current) this.current += 1;
    this.streams.delete(stream);
  }

  /** The first one serves again: from now on it is asked, and what was opened elsewhere ends. */
  comeHome(): void {
    const count = this.urls.length;
    this.current = Math.ceil(this.current / count) * count;
    for (const [stream, at] of this.streams) if (at % count !== 0) stream.destroy();
  }

  private get urls(): readonly string[] {
    return typeof this.named === "function" ? this.named() : this.named;
  }

  close(): void {
    for (const { agent } of this.agents.values()) agent.destroy();
  }

  private async tryEach<T>({ safe, endpoint, signal }: Ask, attempt: (url: URL, tried: number) => Promise<T>): Promise<T> {
    if (endpoint !== undefined) return attempt(new URL(endpoint), this.current);
    for (let tries = 1; ; tries++) {
      const tried = this.current;
      const urls = this.urls;
      try {
        return await attempt(new URL(urls[tried % urls.length] as string), tried);
      } catch (error) {
        signal?.throwIfAborted();
        if (!(error instanceof EtcdFault) || !error.passes) throw error;
        if (this.current === tried) this.current += 1;
        if ((error.mayHaveHappened && !safe) || tries >= urls.length) throw error;
      }
    }
  }

  private send(url: URL, path: string, body: string, { timeoutMs = CALL_MS, signal }: CallOptions): Promise<IncomingMessage> {
    return new Promise((resolve, reject) => {
      const { request: start } = process.getBuiltinModule(url.protocol === "https:" ? "node:https" : "node:http");
      const headers = { "content-type": "application/json", "content-length": Buffer.byteLength(body) };
      const request = start(new URL(path, url), {
        agent: this.agentFor(url),
        method: "POST",
        headers,
        ...(signal !== undefined && { signal }),
      });
      const late = setTimeout(() => request.destroy(new Error(`no answer within ${timeoutMs} ms`)), timeoutMs);
      request.on("response", (answer) => {
        clearTimeout(late);
        if (answer.statusCode === 200) return resolve(answer);
        readAll(answer).then((text) => reject(refusal(answer.statusCode ?? 0, text)), reject);
      });
      request.on("error", (cause) => {
        clearTimeout(late);
        reject(broken(url, cause));
      });
      request.end(body);
    });
  }

  private agentFor({ protocol, origin }: URL): Agent {
    const tls = typeof this.tls === "function" ? this.tls() : this.tls;
    const known = this.agents.get(origin);
    if (known !== undefined && known.tls === tls) return known.agent;
    if (known !== undefined) retire(known.agent);
    const { authority, certificate, key } = tls ?? {};
    const http = process.getBuiltinModule(protocol === "https:" ? "node:https" : "node:http");
    const trust = protocol === "https:" ? { rejectUnauthorized: true, ca: authority, cert: certificate, key } : {};
    const agent = new http.Agent({ keepAlive: true, maxSockets: SOCKETS_MAX, ...trust });
    this.agents.set(origin, { agent, tls });
    return agent;
  }
}

/** What it was asked is answered yet; then its connections close. */
function retire(agent: Agent): void {
  agent.maxFreeSockets = 0;
  for (const socket of Object.values(agent.freeSockets).flat()) socket?.destroy();
}

async function readAll(answer: IncomingMessage): Promise<string> {
  const pieces: Buffer[] = [];
  try {
    for await (const piece of answer) pieces.push(piece as Buffer);
  } catch (cause) {
    throw new EtcdFault("undecided", "etcd's answer was cut", { cause, mayHaveHappened: true });
  }
  return Buffer.concat(pieces).toString();
}

function broken({ origin }: URL, cause: NodeJS.ErrnoException): EtcdFault {
  // One member's certificate, or its clock, says nothing of the next one's.
  const isNotSent = NOT_SENT.has(cause.code ?? "") || isNotLetIn(cause) || certificateFault(cause, origin, undefined) !== undefined;
  if (isNotSent) return new EtcdFault("unreachable", `etcd cannot be reached at ${origin}: ${cause.code}`, { cause });
  return new EtcdFault("undecided", `etcd at ${origin} gave no answer: ${cause.message}`, { cause, mayHaveHappened: true });
}

/** It wants another client certificate, or one at all. */
export const isNotLetIn = ({ code = "" }: NodeJS.ErrnoException): boolean => NOT_LET_IN.test(code);

/** Codes stand for more than one thing; which of them it is, where it matters, the caller finds out by asking (no_space). */
function refusal(status: number, text: string): EtcdFault {
  const { code, message } = parse(text);
  const words = `etcd says: ${message ?? `HTTP ${status}`}`;
  switch (code) {
    case UNAVAILABLE:
    case DEADLINE_EXCEEDED:
    case CANCELLED:
    case INTERNAL:
    case UNKNOWN:
      // Also "request timed out" and "leader changed": it may have been proposed by then.
      return new EtcdFault("no_quorum", words, { mayHaveHappened: true });
    case RESOURCE_EXHAUSTED:
      return new EtcdFault("no_space", words);
    case OUT_OF_RANGE:
      return new EtcdFault("compacted", words);
    case NOT_FOUND:
      return new EtcdFault("not_found", words);
    case PERMISSION_DENIED:
    case UNAUTHENTICATED:
      return new EtcdFault("unauthorized", words);
    default:
      return new EtcdFault("refused", words, { grpcCode: code });
  }
}

function parse(text: string): { code?: number; message?: string } {
  try {
    return JSON.parse(text) as { code?: number; message?: string };
  } catch {
    // A proxy's page, or a server that is no etcd.
    return {};
  }
}
