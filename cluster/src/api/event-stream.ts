/**
 * GET /events: the coordinator's feed as server-sent events. One event each, but one write for all that there is.
 *
 * N1. The feed is listened to in the turn that sends the headers: whoever has seen them misses nothing that follows.
 * N2. A slow reader never holds up the feed: beyond its buffer it gets a `gap` event and is dropped. Where all readers
 *     together hold too much, the slow ones are not sent more; what the feed no longer keeps by then is a `gap` to them.
 * N3. Events of others' tasks come without their payloads, those that are kept for Last-Event-ID as well.
 */
import type { ServerResponse } from "node:http";
import { ClusterError } from "@openclaw-cluster/contract/errors";
import type { ClusterEvent } from "@openclaw-cluster/contract/events";
import { TERMINAL } from "@openclaw-cluster/contract/task";
import type { TaskId } from "@openclaw-cluster/contract/ids";
import type { Coordinator } from "../coordinator/coordinator.ts";
import { eventFor, type Reader } from "../core/visibility.ts";
import type { Clock } from "../system/clock.ts";
import { event, STREAM, type Stream, type Streams } from "./stream.ts";

const TYPES: ReadonlySet<string> = new Set<ClusterEvent["type"]>(["task", "progress", "node"]);

export interface EventQuery {
  readonly task?: TaskId | undefined;
  /** `task,node` */
  readonly types?: string | undefined;
  readonly terminal?: boolean | undefined;
}

interface Parts {
  readonly coordinator: Coordinator;
  readonly streams: Streams;
  readonly clock: Clock;
  readonly outgoing: ServerResponse;
  readonly reader: Reader;
  /** Throws once the reader's token is gone. */
  readonly mustHold: () => void;
}

export async function streamEvents(
  { coordinator, streams, clock, outgoing, reader, mustHold }: Parts,
  query: EventQuery,
  lastEventId: string | undefined,
): Promise<void> {
  const wanted = filter(query);
  const after = lastEventId === undefined ? undefined : eventId(lastEventId);
  if (query.task !== undefined) await coordinator.task(query.task);

  let last = after;
  const stream = streams.open(outgoing, { reader, lastId: () => last?.toString() });
  for await (const events of coordinator.events(after, stream.signal)) {
    if (stream.full) return drop(stream, last, clock);
    mustHold();
    const its = events.filter(wanted);
    await send(stream, reader.all ? its : its.map((one) => eventFor(reader, one)));
    last = events.at(-1)?.id ?? last;
  }
  stream.end();
}

/** In as few writes as there may be. */
async function send(stream: Stream, events: readonly ClusterEvent[]): Promise<void> {
  let text = "";
  for (const one of events) {
    text += event(one, { id: one.id });
    if (text.length < STREAM.pieceCharsMax) continue;
    stream.send(text);
    text = "";
    await stream.room();
  }
  if (text === "") return;
  stream.send(text);
  await stream.room();
}

/** The gap has the last id sent, so a reader that comes back with it gets what the coordinator still keeps. */
function drop(stream: Stream, last: number | undefined, clock: Clock): void {
  const id = last ?? 0;
  const gap: ClusterEvent = { id, at: clock.wall(), type: "gap" };
  stream.end(event(gap, { id }));
}

function filter({ task, types, terminal }: EventQuery): (event: ClusterEvent) => boolean {
  const kinds = types?.split(",") ?? [...TYPES];
  for (const kind of kinds) {
    if (!TYPES.has(kind)) throw new ClusterError("bad_request", `query.types: \`${kind}\` is none of ${[...TYPES].join(", ")}`);
  }
  return (event) => {
    if (event.type === "gap") return true;
    if (!kinds.includes(event.type)) return false;
    if (task !== undefined && (event.type === "node" || event.task !== task)) return false;
    return terminal !== true || (event.type === "task" && TERMINAL.has(event.state));
  };
}

function eventId(header: string): number {
  const id = Number(header);
  if (!Number.isSafeInteger(id) || id < 0)
    throw new ClusterError("bad_request", "Last-Event-ID must be the id of an event of this stream.");
  return id;
}
