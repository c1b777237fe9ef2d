/** The client's transport for browsers, or wherever there is only fetch. */
import {
  ConnectionBroken,
  REPLY_CHARS_MAX,
  type Channel,
  type HttpRequest,
  type HttpReply,
  type HttpStream,
  type Transport,
} from "./transport.ts";

export function fetchTransport(): Transport {
  return (url) => openChannel(url.origin);
}

function openChannel(origin: string): Channel {
  const closed = new AbortController();

  async function open({
    method,
    path,
    headers,
    body,
    idleMs,
    signal,
  }: HttpRequest): Promise<{ answer: Response; heard: () => void; over: () => void }> {
    const idle = new AbortController();
    const giveUp = (): void => idle.abort(new Error(`no answer within ${idleMs} ms`));
    let timer = setTimeout(giveUp, idleMs);
    const over = (): void => clearTimeout(timer);
    const heard = (): void => {
      clearTimeout(timer);
      timer = setTimeout(giveUp, idleMs);
    };
    const signals = [idle.signal, closed.signal, ...(signal === undefined ? [] : [signal])];
    try {
      const answer = await fetch(origin + path, {
        method,
        headers,
        redirect: "error",
        signal: AbortSignal.any(signals),
        ...(body !== undefined && { body }),
      });
      return { answer, heard, over };
    } catch (cause) {
      over();
      throw broken(cause);
    }
  }

  async function send(request: HttpRequest): Promise<HttpReply> {
    const { answer, over } = await open(request);
    try {
      const text = await answer.text();
      if (text.length > REPLY_CHARS_MAX) throw new Error("the answer is too large");
      return { ...head(answer), text };
    } catch (cause) {
      throw broken(cause);
    } finally {
      over();
    }
  }

  async function stream(request: HttpRequest): Promise<HttpStream> {
    const { answer, heard, over } = await open(request);
    return { ...head(answer), pieces: pieces(answer, heard, over) };
  }

  return { send, stream, soon: (run) => void setTimeout(run, 0), close: () => closed.abort(new Error("the client is closed")) };
}

async function* pieces({ body }: Response, heard: () => void, over: () => void): AsyncGenerator<string> {
  const reader = body?.pipeThrough(new TextDecoderStream()).getReader();
  try {
    for (let next = await reader?.read(); next?.done === false; next = await reader?.read()) {
      heard();
      yield next.value;
    }
  } catch (cause) {
    throw broken(cause);
  } finally {
    over();
    await reader?.cancel().catch(ignoreCut);
  }
}

/** A stream that is cut already has nothing left to cancel. */
function ignoreCut(): void {}

function head({ status, headers }: Response): Omit<HttpReply, "text"> {
  return { status, retryAfter: headers.get("retry-after") ?? undefined };
}

/** fetch does not say how far it came, so everything may have been sent. */
function broken(cause: unknown): ConnectionBroken {
  return new ConnectionBroken(cause instanceof Error ? cause.message : String(cause), true, cause);
}
