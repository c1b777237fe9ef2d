/**
 * Reads server-sent events from pieces of text. Incremental, and cheap for many small events in one piece. Reads what
 * the cluster's API writes: line feeds only, one data line in each event.
 */

export interface ServerEvent {
  readonly id: string | undefined;
  /** `message` unless the stream says otherwise. */
  readonly name: string;
  /** Empty for a heartbeat that only moves the id. */
  readonly data: string;
}

/** The largest event: a piece of output of 64 KiB, escaped. */
export const EVENT_CHARS_MAX = 1024 * 1024;

export class SseReader {
  private rest = "";

  /** The events that this piece completes. */
  push(piece: string): ServerEvent[] {
    const text = this.rest + piece;
    const events: ServerEvent[] = [];
    let start = 0;
    for (let end = text.indexOf("\n\n"); end !== -1; end = text.indexOf("\n\n", start)) {
      const event = parse(text.slice(start, end));
      if (event !== undefined) events.push(event);
      start = end + 2;
    }
    this.rest = start === 0 ? text : text.slice(start);
    if (this.rest.length > EVENT_CHARS_MAX) throw new Error(`an event is longer than ${EVENT_CHARS_MAX} characters`);
    return events;
  }
}

/** undefined for a comment. */
function parse(block: string): ServerEvent | undefined {
  let id: string | undefined;
  let name = "message";
  let data = "";
  for (const line of block.split("\n")) {
    if (line.startsWith("data: ")) data = line.slice("data: ".length);
    else if (line.startsWith("id: ")) id = line.slice("id: ".length);
    else if (line.startsWith("event: ")) name = line.slice("event: ".length);
  }
  return id === undefined && data === "" ? undefined : { id, name, data };
}
