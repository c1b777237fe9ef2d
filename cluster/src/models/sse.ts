/**
 * Server-sent events of a model server, cut out of the bytes as they come and kept as they came.
 *
 * E1. An event is passed when its blank line is here, byte for byte; the pieces that the network made of it do not matter.
 * E2. What is no such line ends the reading (garbage), and a line or an event without end does (too_large), before memory does.
 */
import { ModelFault } from "./models.ts";

/** One token with log probabilities of 20 others is 3 KiB; a tool call that comes at once, with a file in it, some hundred. */
const SSE_EVENT_BYTES_MAX = 1024 * 1024;

export interface SseEvent {
  /** As it came, with the blank line. */
  readonly raw: Buffer;
  /** Of its `data:` lines. undefined: it has none, like a comment that keeps the line open. */
  readonly data: string | undefined;
}

const LINE = /^(?:data|event|id|retry|error)?:|^$/;
/** No known field is longer with its colon. */
const PREFIX_BYTES = 6;
const NEWLINE = 0x0a;

export class SseReader {
  /** The pieces of the line that is not complete. */
  private rest: Buffer[] = [];
  private lines: Buffer[] = [];
  private data: string[] = [];
  /** Of the event that is not complete. */
  private bytes = 0;
  private isPrefixSeen = false;

  /** The events that this piece completed. Throws ModelFault (E2). */
  take(piece: Buffer): SseEvent[] {
    const events: SseEvent[] = [];
    let from = 0;
    for (let at = piece.indexOf(NEWLINE); at >= 0; at = piece.indexOf(NEWLINE, from)) {
      this.hold(piece.subarray(from, at + 1));
      from = at + 1;
      const event = this.endLine();
      if (event !== undefined) events.push(event);
    }
    if (from < piece.length) {
      this.hold(piece.subarray(from));
      this.checkPrefix();
    }
    return events;
  }

  /** What came after the last blank line: some servers forget that one. */
  end(): SseEvent[] {
    if (this.bytes === 0) return [];
    this.hold(Buffer.from("\n"));
    const last = this.endLine();
    if (last !== undefined) return [last];
    this.hold(Buffer.from("\n"));
    const event = this.endLine();
    return event === undefined ? [] : [event];
  }

  private hold(part: Buffer): void {
    this.rest.push(part);
    this.bytes += part.length;
    if (this.bytes > SSE_EVENT_BYTES_MAX) throw new ModelFault("too_large", `an event of more than ${SSE_EVENT_BYTES_MAX} bytes`);
  }

  private endLine(): SseEvent | undefined {
    const line = this.rest.length === 1 ? (this.rest[0] as Buffer) : Buffer.concat(this.rest);
    this.rest = [];
    this.isPrefixSeen = false;
    const words = line.toString().replace(/\r?\n$/, "");
    if (!LINE.test(words)) throw new ModelFault("garbage", "the answer is no stream of events");
    this.lines.push(line);
    if (words.startsWith("data:")) this.data.push(words.slice(5).trimStart());
    if (words !== "") return undefined;
    const event = { raw: Buffer.concat(this.lines), data: this.data.length === 0 ? undefined : this.data.join("\n") };
    this.lines = [];
    this.data = [];
    this.bytes = 0;
    return event;
  }

  /** A page without a line's end would fill its whole limit before it was noticed. */
  private checkPrefix(): void {
    if (this.isPrefixSeen) return;
    const start = Buffer.concat(this.rest);
    if (start.length < PREFIX_BYTES) return;
    if (!LINE.test(start.subarray(0, PREFIX_BYTES).toString())) throw new ModelFault("garbage", "the answer is no stream of events");
    this.isPrefixSeen = true;
  }
}
