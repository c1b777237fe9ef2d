/**
 * Large messages over a node's line (line.ts): each takes its turn there, and what is larger than the line's size goes in
 * parts, so that heartbeats and other news get in between.
 *
 * D1. A part is a request of its own, under the message's subject, and says in a header which part of what it is. All but
 *     the last are answered by the bus of the other side, with nothing; the answer to the last is that to the message.
 * D2. Of one subject one message at a time goes in parts. Where a part is missing, its message never was: it ends without an answer.
 * D3. What a sender has begun and not completed takes no more memory than one message for each subject that is listened to.
 * D4. An answer that was held back says for how long, since that is not the line's fault.
 */
import { randomUUID } from "node:crypto";
import { headers, type Msg, type MsgHdrs } from "@nats-io/transport-node";
import { LINE_BYTES_MAX } from "../trust/envelope.ts";
import { BODY_BYTES_MAX } from "./bus.ts";
import type { Line, Lines } from "./line.ts";
import type { Requests } from "./nats-append.ts";

/** A quarter of a second at 64 kB/s. */
const PART_BYTES = 16 * 1024;
const SEALED_BYTES_MAX = BODY_BYTES_MAX + LINE_BYTES_MAX;
const PARTS_MAX = Math.ceil(SEALED_BYTES_MAX / PART_BYTES);
/** `<message> <number, from 0> <how many>` */
const PART = "Ocx-Part";
const HELD_MS = "Ocx-Held-Ms";
/** Less need not be told. */
const HELD_TOLD_MS = 100;

export class Deliveries {
  readonly #requests: Requests;
  readonly #lines: Lines;
  /** The end of the last message in parts, by subject. */
  readonly #inParts = new Map<string, Promise<unknown>>();

  constructor(requests: Requests, lines: Lines) {
    this.#requests = requests;
    this.#lines = lines;
  }

  async deliver(subject: string, payload: Uint8Array, timeoutMs: number): Promise<Msg> {
    const line = this.#lines.of(subject);
    if (payload.length <= Math.max(line.size, PART_BYTES)) return await this.#send(line, subject, payload, timeoutMs);
    const before = this.#inParts.get(subject);
    const sending = (before ?? Promise.resolve()).then(() => this.#sendInParts(line, subject, payload, timeoutMs));
    // Whoever waits behind it need not hear of its failure.
    const over = sending.catch(() => undefined);
    this.#inParts.set(subject, over);
    void over.then(() => this.#inParts.get(subject) === over && this.#inParts.delete(subject));
    return sending;
  }

  async #sendInParts(line: Line, subject: string, payload: Uint8Array, timeoutMs: number): Promise<Msg> {
    const message = randomUUID();
    const count = Math.ceil(payload.length / PART_BYTES);
    const failed = Promise.withResolvers<never>();
    const answers: Promise<Msg>[] = [];
    for (let n = 0; n < count; n += 1) {
      const header = headers();
      header.set(PART, `${message} ${n} ${count}`);
      const entered = Promise.withResolvers<void>();
      const part = payload.subarray(n * PART_BYTES, (n + 1) * PART_BYTES);
      const answer = this.#send(line, subject, part, timeoutMs, header, entered.resolve);
      answer.catch(failed.reject);
      answers.push(answer);
      await Promise.race([entered.promise, failed.promise]);
    }
    return (await Promise.all(answers)).at(-1) as Msg;
  }

  /** `entered`: called when it has left. */
  async #send(line: Line, subject: string, payload: Uint8Array, timeoutMs: number, header?: MsgHdrs, entered?: () => void): Promise<Msg> {
    const room = await line.enter(payload.length);
    try {
      const answer = this.#requests.send(subject, payload, timeoutMs, header);
      entered?.();
      const { headers: its } = await answer;
      room.answered(Number(its?.get(HELD_MS) ?? 0));
      return await answer;
    } catch (error) {
      room.failed();
      throw error;
    }
  }
}

interface Half {
  readonly message: string;
  readonly parts: Uint8Array[];
  bytes: number;
}

/** The other side of a subscription's messages in parts. */
export class Joiner {
  readonly #halves = new Map<string, Half>();

  /** The whole message; undefined for a part that is not its last, or that fits to nothing. */
  join(raw: Msg): Uint8Array | undefined {
    const header = raw.headers?.get(PART);
    if (!header) return raw.data;
    const [message, n, count] = header.split(" ");
    const half = this.#halfFor(raw.subject, message ?? "", Number(n));
    if (half === undefined || half.bytes + raw.data.length > SEALED_BYTES_MAX || !(Number(count) <= PARTS_MAX)) {
      this.#halves.delete(raw.subject);
      return undefined;
    }
    // A copy: what the client library hands out is a piece of all that arrived at once.
    half.parts.push(raw.data.slice());
    half.bytes += raw.data.length;
    if (half.parts.length < Number(count)) {
      raw.respond();
      return undefined;
    }
    this.#halves.delete(raw.subject);
    return Buffer.concat(half.parts);
  }

  /** D2: the one that this part continues, or begins. */
  #halfFor(subject: string, message: string, n: number): Half | undefined {
    if (n === 0) this.#halves.set(subject, { message, parts: [], bytes: 0 });
    const half = this.#halves.get(subject);
    return half !== undefined && half.message === message && half.parts.length === n ? half : undefined;
  }
}

/** D4 */
export function heldFor(ms: number): MsgHdrs | undefined {
  if (ms < HELD_TOLD_MS) return undefined;
  const header = headers();
  header.set(HELD_MS, String(Math.round(ms)));
  return header;
}
