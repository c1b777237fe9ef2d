/**
 * HTTP to one model server of this machine's settings or of its loopback: the one place of this room that opens sockets to them.
 *
 * L1. Redirects are not followed and no proxy of the environment is used: what was set is who is asked.
 * L2. What is heard for a look has a limit of time and of bytes (M3); a fault of it is a ModelFault.
 * L3. A kept connection that the server closed just as it was used again is no fault: the request is sent once more, on a new one.
 */
import type { Agent, ClientRequest, IncomingMessage, request as HttpRequest } from "node:http";
import type { Socket } from "node:net";
import type { Clock } from "../../system/clock.ts";
import { GrowingBytes } from "../../system/growing-bytes.ts";
import { jsonOf } from "../../system/json-of.ts";
import { ModelFault } from "../models.ts";

/** One answer to a look. A server that is well says its lists within a few ms; one whose machine loads a model may need a second or two. */
export const HEAR_MS = 3_000;
/** Ollama's list takes about 600 bytes a model, LM Studio's 1 KiB: room for thousands. */
const HEAR_BYTES_MAX = 4 * 1024 * 1024;

export interface ServerParts {
  /** With or without `/v1` at its end. */
  readonly url: string;
  readonly apiKey?: string | undefined;
  readonly clock: Clock;
}

export interface Heard {
  readonly status: number;
  /** What it calls itself: the header `Server`. */
  readonly server: string;
  readonly text: string;
  /** undefined: it is none. */
  readonly json: unknown;
}

interface Request {
  /** Absent: a GET. */
  readonly body?: string | undefined;
  readonly signal: AbortSignal;
}

export class ModelServer {
  /** Without `/v1` and without a / at its end. */
  readonly root: string;
  private readonly apiKey: string | undefined;
  private readonly clock: Clock;
  private readonly agent: Agent;
  private readonly start: typeof HttpRequest;
  private readonly looks = new Set<AbortController>();
  /** Of answers under way: how much their connection had brought when they began. */
  private readonly answers = new Map<Socket, number>();
  private endedBytes = 0;

  constructor({ url, apiKey, clock }: ServerParts) {
    this.root = rootOf(url);
    this.apiKey = apiKey;
    this.clock = clock;
    // An import statement would load all of undici with it (contract's node-transport.ts tells more).
    const http = process.getBuiltinModule(this.root.startsWith("https:") ? "node:https" : "node:http");
    this.agent = new http.Agent({ keepAlive: true });
    this.start = http.request;
  }

  /** What its answers, and not its lists, have brought so far: a server for which this grows is at work. */
  get spokenBytes(): number {
    return [...this.answers].reduce((sum, [{ bytesRead }, before]) => sum + bytesRead - before, this.endedBytes);
  }

  /** Resolves with the headers. Rejects with what node:http says, or with the signal's reason. */
  async open(path: string, request: Request): Promise<IncomingMessage> {
    const answer = await this.openFresh(path, request);
    const { socket } = answer;
    const before = socket.bytesRead;
    this.answers.set(socket, before);
    answer.once("close", () => {
      this.answers.delete(socket);
      this.endedBytes += socket.bytesRead - before;
    });
    return answer;
  }

  /** L2. Whatever the status is. `body`: posted as JSON. */
  async hear(path: string, { body, limitMs = HEAR_MS }: { readonly body?: object; readonly limitMs?: number } = {}): Promise<Heard> {
    const over = new AbortController();
    this.looks.add(over);
    const timer = this.clock.after(limitMs, () => over.abort(new ModelFault("silent", `no answer within ${limitMs} ms`)));
    try {
      const answer = await this.openFresh(path, { body: body && JSON.stringify(body), signal: over.signal });
      const text = await textOf(answer);
      return { status: answer.statusCode ?? 0, server: String(answer.headers["server"] ?? ""), text, json: jsonOf(text) };
    } catch (error) {
      if (error instanceof ModelFault) throw error;
      if (over.signal.reason instanceof ModelFault) throw over.signal.reason;
      throw new ModelFault("unreachable", `${this.root}${path} cannot be asked`, { cause: error });
    } finally {
      timer.cancel();
      this.looks.delete(over);
    }
  }

  /** Ends everything that is under way. */
  close(): void {
    for (const look of this.looks) look.abort();
    this.agent.destroy();
  }

  private async openFresh(path: string, request: Request): Promise<IncomingMessage> {
    try {
      return await this.openOnce(path, request);
    } catch (error) {
      // L3
      if (!(error instanceof StaleConnection) || request.signal.aborted) throw error;
      return await this.openOnce(path, request);
    }
  }

  private openOnce(path: string, { body, signal }: Request): Promise<IncomingMessage> {
    const { promise, resolve, reject } = Promise.withResolvers<IncomingMessage>();
    const headers = {
      accept: "application/json, text/event-stream",
      ...(this.apiKey !== undefined && { authorization: `Bearer ${this.apiKey}` }),
      ...(body !== undefined && { "content-type": "application/json", "content-length": Buffer.byteLength(body) }),
    };
    const method = body === undefined ? "GET" : "POST";
    const request: ClientRequest = this.start(`${this.root}${path}`, { agent: this.agent, method, headers, signal }, resolve);
    request.on("error", (cause: NodeJS.ErrnoException) => {
      const isStale = request.reusedSocket && (cause.code === "ECONNRESET" || cause.code === "EPIPE");
      reject(isStale ? new StaleConnection("the kept connection was closed", { cause }) : cause);
    });
    // Who wants to speak another protocol from now on is no model server; without a listener nobody would hear of the connection's end.
    request.on("upgrade", (_answer, socket) => {
      socket.destroy();
      reject(new Error("the server wants to speak another protocol"));
    });
    request.end(body);
    return promise;
  }
}

class StaleConnection extends Error {}

/** `http://127.0.0.1:1234/v1/` and `http://127.0.0.1:1234` are one. */
export const rootOf = (url: string): string => url.replace(/\/+$/, "").replace(/\/v1$/, "");

async function textOf(answer: IncomingMessage): Promise<string> {
  const whole = new GrowingBytes();
  for await (const piece of answer as AsyncIterable<Buffer>) {
    whole.add(piece);
    if (whole.length > HEAR_BYTES_MAX) throw new ModelFault("too_large", `an answer of more than ${HEAR_BYTES_MAX} bytes`);
  }
  return whole.all.toString();
}
