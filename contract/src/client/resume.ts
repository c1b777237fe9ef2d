/**
 * A stream of events that outlives its connections: when one breaks, the next goes on after the last event seen.
 *
 * U1. `onConnect` is called when a connection's headers are here; events that happen after it are not missed.
 * U2. It ends at an event called `end`, when it is aborted or the client closed, or with an error that repeating does
 *     not cure.
 */
import { ClusterError } from "../errors.ts";
import { authorization, type Line } from "./call.ts";
import { areSpent, asClusterError, errorFrom, mayRepeat, pause, pauseMs } from "./retry.ts";
import { SseReader, type ServerEvent } from "./sse.ts";
import { ConnectionBroken } from "./transport.ts";

/** Two and a half heartbeats of the server: a connection that is silent for longer is half open. */
const SILENT_MS = 37_500;

export interface ResumeOptions {
  readonly lastId?: string | undefined;
  readonly signal?: AbortSignal | undefined;
  /** `resumed`: it goes on after the last event seen. Else what happened since the last connection is unknown. */
  readonly onConnect?: (resumed: boolean) => void;
}

/** The events of each piece as it came, so that a consumer can handle them together. */
export async function* resumable(line: Line, path: string, options: ResumeOptions): AsyncGenerator<readonly ServerEvent[]> {
  const signal = options.signal === undefined ? line.closed : AbortSignal.any([line.closed, options.signal]);
  let { lastId } = options;
  let failed = 0;
  let failedAt = 0;
  while (!signal.aborted) {
    try {
      const stream = await connect(line, path, lastId, signal);
      options.onConnect?.(lastId !== undefined);
      const reader = new SseReader();
      for await (const piece of stream.pieces) {
        failed = 0;
        const { news, last } = upToLast(reader.push(piece));
        lastId = news.findLast(({ id }) => id !== undefined)?.id ?? lastId;
        const shown = news.filter(({ data }) => data !== "");
        if (shown.length > 0) yield shown;
        if (last?.name === "end") return;
        if (last !== undefined) throw errorFrom(0, last.data, undefined);
      }
      throw new ConnectionBroken("the stream ended early", true, undefined);
    } catch (thrown) {
      if (signal.aborted) return;
      const error = asClusterError(thrown);
      if (failed === 0) failedAt = performance.now();
      failed += 1;
      if (!mayRepeat(error, true) || areSpent(failed, error, line, performance.now() - failedAt)) throw error;
      await pause(pauseMs(failed, error, line.retry), signal);
    }
  }
}

/** `last` is the stream's own word: `end`, or an `error` that the server met after it had begun to answer. */
function upToLast(events: readonly ServerEvent[]): { news: readonly ServerEvent[]; last?: ServerEvent } {
  const at = events.findIndex(({ name }) => name === "end" || name === "error");
  const last = events[at];
  return last === undefined ? { news: events } : { news: events.slice(0, at), last };
}

async function connect(line: Line, path: string, lastId: string | undefined, signal: AbortSignal): ReturnType<Line["channel"]["stream"]> {
  const stream = await line.channel.stream({
    method: "GET",
    path: `/api/v1${path}`,
    headers: { ...authorization(line), accept: "text/event-stream", ...(lastId !== undefined && { "last-event-id": lastId }) },
    idleMs: SILENT_MS,
    safe: true,
    signal,
  });
  line.heard = true;
  if (stream.status === 200) return stream;
  let text = "";
  for await (const piece of stream.pieces) text += piece;
  throw errorFrom(stream.status, text, stream.retryAfter);
}

export function parseData(event: ServerEvent): unknown {
  try {
    return JSON.parse(event.data) as unknown;
  } catch (cause) {
    throw new ClusterError("internal", "The coordinator sent an event that is not JSON.", { cause });
  }
}
