/**
 * How the client reaches a coordinator. Two exist: node:http (node-transport.ts) and fetch (fetch-transport.ts); on
 * node the first one does a quarter more tasks a second. A transport moves text; what the text means is the client's.
 */

export interface HttpRequest {
  readonly method: "GET" | "POST" | "PATCH" | "DELETE";
  /** With the query, from the slash on. */
  readonly path: string;
  readonly headers: Readonly<Record<string, string>>;
  readonly body?: string;
  /** Given up when nothing was heard for this long. */
  readonly idleMs: number;
  /** Doing it twice is as good as once: so it may be sent to another address as well (addresses.ts). */
  readonly safe?: boolean;
  readonly signal?: AbortSignal | undefined;
}

export interface HttpReply {
  readonly status: number;
  readonly retryAfter: string | undefined;
  readonly text: string;
}

export interface HttpStream {
  readonly status: number;
  readonly retryAfter: string | undefined;
  /** Pieces as they come; characters are never cut in two. Ends with the stream, throws ConnectionBroken when it is cut. */
  readonly pieces: AsyncIterable<string>;
}

export interface Channel {
  /** The answer, whatever its status. Throws ConnectionBroken when there was none. */
  send(request: HttpRequest): Promise<HttpReply>;
  stream(request: HttpRequest): Promise<HttpStream>;
  /** Runs after the other work of this turn of the event loop. */
  soon(run: () => void): void;
  close(): void;
}

export type Transport = (url: URL) => Channel;

/** An answer that is longer is refused: a large result has its own limit below this. */
export const REPLY_CHARS_MAX = 80 * 1024 * 1024;

export class ConnectionBroken extends Error {
  override name = "ConnectionBroken";
  /** False: surely nothing of the request arrived. */
  readonly sent: boolean;

  constructor(message: string, sent: boolean, cause: unknown) {
    super(message, { cause });
    this.sent = sent;
  }
}
