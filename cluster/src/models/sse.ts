/**
 * Server-sent events of a model server, cut out of the bytes as they come and kept as they came.
 *
 * E1. An event is passed when its blank line is here, byte for byte; the pieces that the network made of it do not matter.
 * E2. What is no such line, or no UTF-8, ends the reading (garbage), and a line, an event or a stream without end does (too_large), before
 *     memory or patience does.
 */
import { isUtf8 } from "node:buffer";
import { GrowingBytes } from "../system/growing-bytes.ts";
import { ModelFault } from "./models.ts";

/** One token with log probabilities of 20 others is 3 KiB; a tool call that comes at once, with a file in it, some hundred. */
const SSE_EVENT_BYTES_MAX = 1024 * 1024;
/** Its data, an id, a name, a comment; JSON that was laid out over several lines has some dozen. */
const SSE_EVENT_LINES_MAX = 1_024;
/** Of a stream. Two for each token, and no model says half a million of them; what is done for a line takes some 5 µs on each machine. */
const SSE_LINES_MAX = 1_048_576;

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
  /** Of the line that is not complete. */
  private rest: GrowingBytes | undefined;
  private lines: Buffer[] = [];
  private data: string[] = [];
  /** Of the event that is not complete. */
  private bytes = 0;
  /** Of the stream. */
  private lineCount = 0;
  private isPrefixSeen = false;

  /** The events that this piece completed. Throws ModelFault (E2). */
  take(piece: Buffer): SseEvent[] {
    const events: SseEvent[] = [];
    let from = 0;
    for (let at = piece.indexOf(NEWLINE); at >= 0; at = piece.indexOf(NEWLINE, from)) {
      const event = this.endLine(piece.subarray(from, at + 1));
      from = at + 1;
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
    const event = this.endLine(Buffer.from("\n")) ?? this.endLine(Buffer.from("\n"));
    return event === undefined ? [] : [event];
  }

  private hold(part: Buffer): void {
    this.count(part);
    this.rest ??= new GrowingBytes();
    this.rest.add(part);
  }

  private count({ length }: Buffer): void {
    this.bytes += length;
    if (this.bytes > SSE_EVENT_BYTES_MAX) throw new ModelFault("too_large", `an event of more than ${SSE_EVENT_BYTES_MAX} bytes`);
  }

  private endLine(part: Buffer): SseEvent | undefined {
    this.count(part);
    this.rest?.add(part);
    const line = this.rest?.all ?? part;
    this.rest = undefined;
    this.isPrefixSeen = false;
    this.lineCount += 1;
    if (this.lineCount > SSE_LINES_MAX) throw new ModelFault("too_large", `a stream of more than ${SSE_LINES_MAX} lines`);
    if (!isUtf8(line)) throw new ModelFault("garbage", "the answer is no UTF-8");
    const words = line.toString().replace(/\r?\n$/, "");
    if (!LINE.test(words)) throw new ModelFault("garbage", "the answer is no stream of events");
    if (this.lines.length >= SSE_EVENT_LINES_MAX) throw new ModelFault("too_large", `an event of more than ${SSE_EVENT_LINES_MAX} lines`);
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
    const start = this.rest?.all;
    if (start === undefined || start.length < PREFIX_BYTES) return;
    if (!LINE.test(start.subarray(0, PREFIX_BYTES).toString())) throw new ModelFault("garbage", "the answer is no stream of events");
    this.isPrefixSeen = true;
  }
}
