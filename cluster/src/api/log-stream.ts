/**
 * GET /tasks/{id}/logs: what a task's attempts print. The next piece is asked for when the reader has taken the last
 * one, so a slow reader slows the reading, and holds that piece and the few that the bus has read ahead.
 *
 * L1. The stream ends with `event: end` when the output is complete; ending without it means: come back with Last-Event-ID.
 * L2. Where all slow readers together hold too much, the slowest is told so (`event: error`, `overloaded`) after the piece
 *     that it has begun, and comes back like any other; so each gets every piece, however slow it is.
 */
import type { ServerResponse } from "node:http";
import { ClusterError, toProblem } from "@openclaw-cluster/contract/errors";
import type { TaskId } from "@openclaw-cluster/contract/ids";
import type { OutputChunk } from "@openclaw-cluster/contract/wire";
import { READ_AHEAD_PIECES } from "../bus/bus.ts";
import type { Coordinator } from "../coordinator/coordinator.ts";
import type { Reader } from "../core/visibility.ts";
import { event, type Streams } from "./stream.ts";

interface Parts {
  readonly coordinator: Coordinator;
  readonly streams: Streams;
  readonly outgoing: ServerResponse;
  readonly reader: Reader;
  /** Throws once the reader's token is gone. */
  readonly mustHold: () => void;
}

const TOO_SLOW = new ClusterError(
  "overloaded",
  "This reader is behind, and all such readers together hold too much. Go on with Last-Event-ID.",
);
const DROPPABLE = { piecesAhead: READ_AHEAD_PIECES, farewell: event(toProblem(TOO_SLOW), { name: "error" }) };

export interface LogQuery {
  readonly follow?: boolean | undefined;
  readonly attempt?: number | undefined;
}

export async function streamLogs(
  { coordinator, streams, outgoing, reader, mustHold }: Parts,
  task: TaskId,
  query: LogQuery,
  lastEventId: string | undefined,
): Promise<void> {
  const seen = lastEventId === undefined ? undefined : position(lastEventId);
  await coordinator.task(task);

  let last = lastEventId;
  const stream = streams.open(outgoing, { reader, lastId: () => last, droppable: DROPPABLE });
  const { follow = false, attempt } = query;
  const chunks = coordinator.logs(task, { follow, signal: stream.signal, ...(attempt !== undefined && { attempt }) });
  for await (const chunk of chunks) {
    if (seen !== undefined && !isAfter(chunk, seen)) continue;
    mustHold();
    last = `${chunk.attempt}.${chunk.n}`;
    stream.send(event(chunk, { id: last }));
    await stream.drained();
    if (stream.signal.aborted) return;
  }
  stream.end(event({}, { name: "end" }));
}

interface Position {
  readonly attempt: number;
  readonly n: number;
}

/** `attempt.n`, as each event's id: whatever OutputChunk takes for a number. */
function position(header: string): Position {
  const [, attempt, n] = (/^(\d{1,16})\.(\d{1,16})$/.exec(header) ?? []).map(Number);
  if (!Number.isSafeInteger(attempt) || !Number.isSafeInteger(n))
    throw new ClusterError("bad_request", "Last-Event-ID must be the id of an event of this stream.");
  return { attempt, n } as Position;
}

function isAfter(chunk: OutputChunk, seen: Position): boolean {
  return chunk.attempt > seen.attempt || (chunk.attempt === seen.attempt && chunk.n > seen.n);
}
