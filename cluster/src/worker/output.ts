/**
 * What one attempt prints, on its way to the bus: gathered for a moment, cut into chunks, stored one after another.
 *
 * O1. `write` resolves when there is room again; so a slow bus slows the program instead of filling memory (X3).
 * O2. Beyond the attempt's limit text is dropped after one note; the program goes on.
 * O3. Chunks are numbered without gaps as long as the bus takes them. One that it does not take in time is dropped, and
 *     leaves a gap; one that it took without saying so may come twice, with the same number.
 * O4. The last chunk says so, and comes even where nothing was printed: a reader need not wait for more.
 */
import type { Json } from "@openclaw-cluster/contract/json";
import { LIMITS } from "@openclaw-cluster/contract/limits";
import type { AttemptRef, OutputChunk, OutputStream } from "@openclaw-cluster/contract/wire";
import type { Clock } from "../system/clock.ts";
import type { Log } from "../system/log.ts";
import { pause } from "../system/pause.ts";

/** Text waits this long for company. */
const GATHER_MS = 50;
/** A chunk that the bus refuses is tried so often, with this pause, then dropped: about 10 s … */
const TRIES_MAX = 20;
const TRY_PAUSE_MS = 500;
/** … but 30 s while there is no connection: longer than a restart of the bus takes. */
const TRIES_CUT_OFF_MAX = 60;
/** The end of an attempt waits for its last output: on a slow line several programs that print take turns. Not so long if the worker ends. */
const END_MS = 30_000;
const END_LEAVING_MS = 5_000;
/** JSON takes six bytes for a control character. What prints many of them is cut finer, so that no piece stands on a slow line for long. */
const CHUNK_JSON_BYTES_MAX = 2 * LIMITS.outputChunkBytesMax;

export interface OutputParts {
  readonly ref: AttemptRef;
  readonly append: (chunk: OutputChunk) => Promise<void>;
  readonly connected: () => boolean;
  /** The worker ends, and waits for this. */
  readonly leaving: () => boolean;
  readonly clock: Clock;
  readonly log: Log;
  readonly limitBytes: number;
  /** Number of the first chunk; not 0 where an earlier life of the worker has printed already. */
  readonly first: number;
}

interface Piece {
  readonly stream: OutputStream;
  text: string;
  readonly data?: Json;
  bytes: number;
  jsonBytes: number;
  last?: boolean;
}

export class Output {
  private readonly parts: OutputParts;
  private readonly pieces: Piece[] = [];
  private pendingBytes = 0;
  private printedBytes = 0;
  private cut = false;
  private n: number;
  private gathering = false;
  private sending: Promise<void> | undefined;
  private ended = false;
  private givenUp = false;

  constructor(parts: OutputParts) {
    this.parts = parts;
    this.n = parts.first;
  }

  async write(stream: OutputStream, text: string, data?: Json): Promise<void> {
    if (this.ended || this.cut) return;
    const dataBytes = data === undefined ? 0 : Buffer.byteLength(JSON.stringify(data));
    const room = this.parts.limitBytes - this.printedBytes;
    const bytes = Buffer.byteLength(text) + dataBytes;
    this.printedBytes += bytes;
    if (bytes > room) {
      this.cut = true;
      this.add(stream, headOf(text, Math.max(0, room)));
      this.add("note", `output cut at ${this.parts.limitBytes} bytes`);
    } else if (dataBytes > LIMITS.outputChunkBytesMax) {
      this.add(stream, text, { leftOutBytes: dataBytes });
    } else {
      this.add(stream, text, data, dataBytes);
    }
    this.schedule();
    while (this.pendingBytes >= LIMITS.outputChunkBytesMax && !this.ended) await this.send();
  }

  /** Sends what is left; the last chunk says that it is. Never rejects, and takes no longer than END_MS allows. */
  async end(): Promise<void> {
    this.ended = true;
    const final = this.pieces.at(-1);
    if (final === undefined) this.pieces.push({ stream: "note", text: "", bytes: 0, jsonBytes: 0, last: true });
    else final.last = true;
    const sent = this.send().then(() => true);
    for (let waitedMs = 0; waitedMs < END_MS; waitedMs += END_LEAVING_MS) {
      const late = Promise.withResolvers<false>();
      const timer = this.parts.clock.after(END_LEAVING_MS, () => late.resolve(false));
      const done = await Promise.race([sent, late.promise]);
      timer.cancel();
      if (done) return;
      if (this.parts.leaving()) break;
    }
    this.givenUp = true;
    this.parts.log.warn({ task: this.parts.ref.task, bytes: this.pendingBytes }, "the last output is dropped: the bus does not take it");
    this.pieces.length = 0;
  }

  private add(stream: OutputStream, text: string, data?: Json, dataBytes = 0): void {
    for (let rest = text; ;) {
      const part = pieceOf(rest);
      rest = rest.slice(part.length);
      const isLast = rest === "";
      const bytes = Buffer.byteLength(part) + (isLast ? dataBytes : 0);
      const jsonBytes = jsonBytesOf(part);
      const before = this.pieces.at(-1);
      if (
        data === undefined &&
        before?.stream === stream &&
        before.data === undefined &&
        before.bytes + bytes <= LIMITS.outputChunkBytesMax &&
        before.jsonBytes + jsonBytes <= CHUNK_JSON_BYTES_MAX
      ) {
        before.text += part;
        before.bytes += bytes;
        before.jsonBytes += jsonBytes;
      } else if (part !== "" || data !== undefined) {
        this.pieces.push({ stream, text: part, bytes, jsonBytes, ...(isLast && data !== undefined && { data }) });
      }
      this.pendingBytes += bytes;
      if (isLast) return;
    }
  }

  private schedule(): void {
    if (this.gathering || this.sending !== undefined) return;
    this.gathering = true;
    this.parts.clock.after(GATHER_MS, () => {
      this.gathering = false;
      void this.send();
    });
  }

  /** Sends until nothing is left; a call while it sends joins it. */
  private send(): Promise<void> {
    if (this.sending === undefined && this.pieces.length > 0) this.sending = this.sendAll();
    return this.sending ?? Promise.resolve();
  }

  private async sendAll(): Promise<void> {
    for (let piece = this.pieces.shift(); piece !== undefined; piece = this.pieces.shift()) {
      const { stream, text, data, last } = piece;
      const { task, attempt } = this.parts.ref;
      await this.store({
        task,
        attempt,
        n: this.n++,
        at: this.parts.clock.wall(),
        stream,
        text,
        ...(data !== undefined && { data }),
        ...(last && { last }),
      });
      this.pendingBytes -= piece.bytes;
    }
    // In the same breath as the look that found nothing, so that no piece falls between.
    this.sending = undefined;
  }

  private async store(chunk: OutputChunk): Promise<void> {
    for (let tries = 0, triesCutOff = 0; ;) {
      try {
        return await this.parts.append(chunk);
      } catch (error) {
        if (this.parts.connected()) tries++;
        else triesCutOff++;
        if (this.givenUp) return;
        if (tries === TRIES_MAX || triesCutOff === TRIES_CUT_OFF_MAX) {
          this.parts.log.warn({ task: chunk.task, n: chunk.n, err: error }, "a piece of output is dropped: the bus does not take it");
          return;
        }
        await pause(this.parts.clock, TRY_PAUSE_MS);
      }
    }
  }
}

/** As much of the beginning as one chunk takes. */
function pieceOf(text: string): string {
  for (let bytesMax = LIMITS.outputChunkBytesMax; ; bytesMax /= 2) {
    const part = headOf(text, bytesMax);
    if (jsonBytesOf(part) <= CHUNK_JSON_BYTES_MAX) return part;
  }
}

function jsonBytesOf(text: string): number {
  return Buffer.byteLength(JSON.stringify(text));
}

/** The longest beginning of at most `bytesMax` bytes of UTF-8 that does not split a character. */
function headOf(text: string, bytesMax: number): string {
  if (text.length * 3 <= bytesMax || Buffer.byteLength(text) <= bytesMax) return text;
  const { read } = new TextEncoder().encodeInto(text, new Uint8Array(bytesMax));
  return text.slice(0, read);
}
