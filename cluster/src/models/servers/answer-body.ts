/**
 * The body of a model server's answer, on its way through this process.
 *
 * B1. Nothing is read ahead of whoever reads it, beyond the stream's own mark: while he does not read, the server's socket waits.
 * B2. A server that says nothing while it is waited for is given up after a time; the time that the reader takes is not counted.
 * B3. Destroying it closes the server's socket at once: that is how a server notices that nobody wants the rest.
 * B4. A fault comes as an error of the stream, and one that nobody listens to does not end the process.
 */
import type { IncomingMessage } from "node:http";
import { Readable } from "node:stream";
import type { Clock, Timer } from "../../system/clock.ts";
import { ModelFault } from "../models.ts";
import type { Passing } from "./passing.ts";

/** A batch of embeddings as text has about 100 MiB. */
export const ANSWER_BYTES_MAX = 256 * 1024 * 1024;
/** A long answer as a stream has a few MiB, one of 128,000 tokens 40: for each word there are some 300 bytes of JSON. */
export const STREAM_BYTES_MAX = 64 * 1024 * 1024;
/** A piece for each event, and for its length; a server that sends byte by byte would keep three machines at work for minutes. */
const PIECES_MAX = 1_048_576;

export interface BodyParts {
  readonly source: IncomingMessage;
  readonly passing: Passing;
  readonly clock: Clock;
  /** Until the first byte, from now. */
  readonly firstByteMs: number;
  /** Between two bytes. */
  readonly idleMs: number;
  readonly bytesMax: number;
}

export class AnswerBody extends Readable {
  private readonly parts: BodyParts;
  private readonly first = Promise.withResolvers<void>();
  private timer: Timer | undefined;
  private bytes = 0;
  private pieces = 0;
  private isOver = false;

  constructor(parts: BodyParts) {
    super();
    this.parts = parts;
    const { source } = parts;
    // B4
    this.on("error", () => undefined);
    this.first.promise.catch(() => undefined);
    source.pause();
    source.on("data", (piece: Buffer) => this.hear(piece));
    source.on("end", () => this.finish());
    source.on("error", (cause) => this.lose(cause));
    source.on("close", () => this.lose(undefined));
  }

  /** Resolves when there is something to read, or all was said; rejects with the fault that came instead. */
  begun(): Promise<void> {
    this.read(0);
    return this.first.promise;
  }

  override _read(): void {
    if (this.isOver) return;
    this.wait();
    this.parts.source.resume();
  }

  override _destroy(error: Error | null, done: (error: Error | null) => void): void {
    this.timer?.cancel();
    this.isOver = true;
    // B3
    this.parts.source.destroy();
    this.first.reject(error ?? new ModelFault("unreachable", "the answer was given up"));
    done(error);
  }

  /** B2 */
  private wait(): void {
    this.timer?.cancel();
    const ms = this.bytes === 0 ? this.parts.firstByteMs : this.parts.idleMs;
    this.timer = this.parts.clock.after(ms, () => this.destroy(new ModelFault("silent", `the server said nothing for ${ms} ms`)));
  }

  private hear(piece: Buffer): void {
    if (this.isOver) return;
    this.timer?.cancel();
    this.bytes += piece.length;
    this.pieces += 1;
    const { passing, bytesMax, source } = this.parts;
    if (this.bytes > bytesMax) return void this.destroy(new ModelFault("too_large", `an answer of more than ${bytesMax} bytes`));
    if (this.pieces > PIECES_MAX) return void this.destroy(new ModelFault("too_large", `an answer in more than ${PIECES_MAX} pieces`));
    const isWanted = this.pass(() => passing.take(piece));
    if (passing.isOver) this.finish();
    else if (isWanted) this.wait();
    // B1
    else source.pause();
  }

  private finish(): void {
    if (this.isOver) return;
    this.timer?.cancel();
    this.pass(() => this.parts.passing.end());
    if (this.destroyed) return;
    this.isOver = true;
    this.push(null);
    this.first.resolve();
    // So that the connection can be kept for the next request.
    this.parts.source.resume();
  }

  private lose(cause: Error | undefined): void {
    if (this.isOver) return;
    this.destroy(new ModelFault("unreachable", "the connection ended before the answer did", { cause }));
  }

  /** Is more wanted? */
  private pass(take: () => Buffer): boolean {
    try {
      const out = take();
      if (out.length === 0) return true;
      const isWanted = this.push(out);
      this.first.resolve();
      return isWanted;
    } catch (error) {
      this.destroy(error as Error);
      return false;
    }
  }
}
