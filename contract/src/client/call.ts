/** One request: how it is addressed, authorised and tried again, and how its answer is read. */
import { ConnectionBroken, type Channel, type HttpRequest } from "./transport.ts";
import { errorFrom, withRetry, type Retrying } from "./retry.ts";

/** An answer that does not wait on purpose comes within this time. */
const ANSWER_MS = 30_000;

export interface Line {
  readonly channel: Channel;
  readonly token: string | undefined;
  /** Aborts when the client is closed. */
  readonly closed: AbortSignal;
  /** The coordinator has answered before. */
  heard: boolean;
  /** RETRY unless said. */
  readonly retry?: Retrying;
}

export interface CallOptions {
  /** Doing it twice is as good as once. */
  readonly safe: boolean;
  readonly headers?: Readonly<Record<string, string>>;
  readonly body?: string;
  /** The server may take this long on purpose, on top of ANSWER_MS. */
  readonly waitMs?: number;
  readonly signal?: AbortSignal | undefined;
}

/** `path` stands under /api/v1. The answer is taken at its word: it comes from the server that the token is for. */
export function call(line: Line, method: HttpRequest["method"], path: string, options: CallOptions): Promise<unknown> {
  const { safe, body, waitMs = 0, signal } = options;
  const request: HttpRequest = {
    method,
    path: `/api/v1${path}`,
    headers: { ...authorization(line), ...(body !== undefined && { "content-type": "application/json" }), ...options.headers },
    idleMs: waitMs + ANSWER_MS,
    safe,
    signal,
    ...(body !== undefined && { body }),
  };
  return withRetry({ safe, signal, line }, async () => {
    const { status, retryAfter, text } = await line.channel.send(request);
    line.heard = true;
    if (status >= 300) throw errorFrom(status, text, retryAfter);
    try {
      return JSON.parse(text) as unknown;
    } catch (cause) {
      throw new ConnectionBroken("the answer is not JSON", true, cause);
    }
  });
}

export function authorization({ token }: Line): { authorization?: string } {
  return token === undefined ? {} : { authorization: `Bearer ${token}` };
}
