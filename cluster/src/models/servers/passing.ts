/**
 * What is looked at in an answer while it passes, and what is taken out of it.
 *
 * T1. A stream is passed as it came, but for the count of tokens that was asked for in the caller's stead.
 * T2. An answer that stops without its end is a fault and no answer: a server that is shut down closes its streams as if all were said.
 */
import { z } from "zod";
import { ModelFault } from "../models.ts";
import { jsonOf } from "../../system/json-of.ts";
import { SseReader, type SseEvent } from "../sse.ts";

export interface Passing {
  /** What of it goes on. Throws ModelFault. */
  take(piece: Buffer): Buffer;
  /** The server ended its answer. What is left to go on; throws ModelFault where it is not whole. */
  end(): Buffer;
  /** All was said, though the connection may stay open. */
  readonly isOver: boolean;
}

/** Untouched: for who reads it himself. */
export const everything = (): Passing => ({ take: (piece) => piece, end: () => Buffer.alloc(0), isOver: false });

/** The last of OpenAI's chat streams. */
export const DONE = "[DONE]";
const ENDED = /"finish_reason"\s*:\s*"|^\s*\{\s*"error"\s*:/;
const UsageOnly = z.object({ choices: z.array(z.unknown()).length(0), usage: z.object({}) });

const isUsageOnly = (data: string): boolean => data.includes('"usage"') && UsageOnly.safeParse(jsonOf(data)).success;

export interface EventsParts {
  /** Of chat: it ends with a reason. Others' last event has many names. */
  readonly isChat: boolean;
  /** T1 */
  readonly dropUsage: boolean;
}

export class PassingEvents implements Passing {
  private readonly reader = new SseReader();
  private readonly parts: EventsParts;
  private isAnswered = false;
  private isEnded = false;
  isOver = false;

  constructor(parts: EventsParts) {
    this.parts = parts;
  }

  take(piece: Buffer): Buffer {
    return this.pass(this.reader.take(piece));
  }

  /** T2 */
  end(): Buffer {
    const last = this.pass(this.reader.end());
    if (!this.isAnswered) throw new ModelFault("garbage", "a stream without an event");
    if (this.parts.isChat && !this.isEnded) throw new ModelFault("unreachable", "the stream ended before the answer did");
    return last;
  }

  private pass(events: readonly SseEvent[]): Buffer {
    return Buffer.concat(events.filter((event) => this.passes(event)).map(({ raw }) => raw));
  }

  private passes({ data, raw }: SseEvent): boolean {
    if (this.isOver) return false;
    // llama-server once told errors in a field of this name.
    if (raw.subarray(0, 6).toString() === "error:") this.isAnswered = this.isEnded = true;
    if (data === undefined) return true;
    this.isAnswered = true;
    if (data === DONE) this.isEnded = this.isOver = true;
    else if (!data.startsWith("{")) throw new ModelFault("garbage", "an event is no JSON");
    else if (ENDED.test(data)) this.isEnded = true;
    return !this.parts.dropUsage || !isUsageOnly(data);
  }
}

const SPACE = /^\s$/;

/** An object in JSON, by its first and last character: it may be 100 MB of numbers, and whoever asked parses it anyway. */
export class PassingJson implements Passing {
  private readonly decoder = new TextDecoder("utf-8", { fatal: true });
  private isBegun = false;
  private last = "";
  readonly isOver = false;

  take(piece: Buffer): Buffer {
    const characters = this.decoded(piece);
    if (!this.isBegun) {
      const first = characters.trimStart().charAt(0);
      if (first !== "" && first !== "{") throw new ModelFault("garbage", "the answer is no JSON");
      this.isBegun = first === "{";
    }
    for (let at = characters.length - 1; at >= 0; at -= 1) {
      const one = characters.charAt(at);
      if (SPACE.test(one)) continue;
      this.last = one;
      break;
    }
    return piece;
  }

  end(): Buffer {
    this.decoded();
    if (this.last !== "}") throw new ModelFault("garbage", "the answer is no whole JSON");
    return Buffer.alloc(0);
  }

  /** Without a piece: its end, which may be in the middle of a character. */
  private decoded(piece?: Buffer): string {
    try {
      return this.decoder.decode(piece, { stream: piece !== undefined });
    } catch (cause) {
      throw new ModelFault("garbage", "the answer is no UTF-8", { cause });
    }
  }
}
