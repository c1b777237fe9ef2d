/**
 * The bus in memory, for unit tests and the simulation: same door, same order, same limits, no server and no rights.
 * Everything that takes time goes through the clock, so that a simulation decides when it happens.
 *
 * M1. Bodies take the way over JSON, as on the wire: what JSON cannot say does not arrive.
 * M2. Nothing is delivered within the call that sent it.
 */
import { ClusterError } from "@openclaw-cluster/contract/errors";
import { LIMITS } from "@openclaw-cluster/contract/limits";
import type { Clock } from "../system/clock.ts";
import { decodeBody, encodeBody } from "./body.ts";
import type { Bus, Kept, Message, ReadOptions, RefusalListener, Subscription } from "./bus.ts";
import { ask, plainEnvelopes, tell, type Envelopes } from "./envelope-door.ts";
import type { Rations } from "./rations.ts";
import { Refusals } from "./refusals.ts";
import { blobPart, FROM_NODES, senderOf, subjectFits } from "./subjects.ts";

/** One message on its way to one receiver. */
export interface Passage {
  readonly from: string;
  readonly to: string;
  readonly subject: string;
}

/** After how many ms each copy arrives: `[0]` as always, `[]` lost, `[0, 0]` doubled, `[50]` late, and thus out of order. */
export type Faults = (passage: Passage) => readonly number[];

export interface RamNet {
  /**
   * `clock`: the party's own, which a simulation stops and ends with it; what arrives then waits, or is dropped. `envelopes`:
   * without them nothing is sealed. `rations`: of the coordinator; without them all is heard.
   */
  connect(name: string, clock?: Clock, envelopes?: Envelopes, rations?: Rations): Bus;
  /** As when the server dies: every message that is under way is lost. Connections are the caller's to cut. */
  drop(): void;
}

const PIECES_MAX = 65_536;
const UNHARMED: readonly number[] = [0];

interface Receiver {
  readonly owner: string;
  readonly clock: Clock;
  readonly pattern: string;
  stopped: boolean;
  /** `respond`: for the answer's bytes. */
  deliver(bytes: Uint8Array, subject: string, respond?: (bytes: Uint8Array) => void): void;
}

interface Piece {
  readonly subject: string;
  readonly bytes: Uint8Array;
}

export function openRamNet(options: { clock: Clock; faults?: Faults }): RamNet {
  const net = new Net(options.clock, options.faults ?? (() => UNHARMED));
  return {
    connect: (name, clock = options.clock, envelopes = plainEnvelopes(), rations) => new RamBus({ name, net, clock, envelopes, rations }),
    drop: () => net.drop(),
  };
}

/** What all connections share. */
class Net {
  readonly clock: Clock;
  readonly blobs = new Map<string, Uint8Array>();
  readonly #faults: Faults;
  /** By pattern, those with wildcards apart, so that a simulation of a thousand nodes does not compare each with each. */
  readonly #exact = new Map<string, Set<Receiver>>();
  readonly #wild = new Map<string, Set<Receiver>>();
  #pieces: Piece[] = [];
  /** The number of the first piece that is still kept. */
  #first = 0;
  #appended = Promise.withResolvers<void>();
  #drops = 0;

  constructor(clock: Clock, faults: Faults) {
    this.clock = clock;
    this.#faults = faults;
  }

  add(receiver: Receiver): void {
    const { pattern } = receiver;
    const group = /[*>]/.test(pattern) ? this.#wild : this.#exact;
    group.set(pattern, (group.get(pattern) ?? new Set()).add(receiver));
  }

  remove(receiver: Receiver): void {
    for (const group of [this.#exact, this.#wild]) {
      const receivers = group.get(receiver.pattern);
      if (receivers?.delete(receiver) === true && receivers.size === 0) group.delete(receiver.pattern);
    }
  }

  receiversOf(subject: string): Receiver[] {
    const found = [...(this.#exact.get(subject) ?? [])];
    for (const [pattern, receivers] of this.#wild) {
      if (subjectFits(subject, pattern)) found.push(...receivers);
    }
    return found;
  }

  /** The way takes the net's time; that it arrives is the receiver's. */
  pass(passage: Passage, receiver: Clock, arrive: () => void): void {
    const drops = this.#drops;
    const end = (): void => {
      if (drops !== this.#drops) return;
      if (receiver === this.clock) arrive();
      else receiver.soon(arrive);
    };
    for (const delayMs of this.#faults(passage)) {
      if (delayMs === 0) receiver.soon(arrive);
      else this.clock.after(delayMs, end);
    }
  }

  drop(): void {
    this.#drops += 1;
  }

  /** The number that the next piece will have. */
  get end(): number {
    return this.#first + this.#pieces.length;
  }

  append(piece: Piece): void {
    this.#pieces.push(piece);
    if (this.#pieces.length > PIECES_MAX) {
      const dropped = PIECES_MAX / 4;
      this.#pieces = this.#pieces.slice(dropped);
      this.#first += dropped;
    }
    this.wake();
  }

  /** Lets every reader that waits for a piece look again. */
  wake(): void {
    this.#appended.resolve();
    this.#appended = Promise.withResolvers();
  }

  /** The kept piece with this number, or the first one after it. */
  at(number: number): { number: number; piece: Piece | undefined } {
    const kept = Math.max(number, this.#first);
    return { number: kept, piece: this.#pieces[kept - this.#first] };
  }

  nextAppend(): Promise<void> {
    return this.#appended.promise;
  }
}

interface RamBusParts {
  readonly name: string;
  readonly net: Net;
  readonly clock: Clock;
  readonly envelopes: Envelopes;
  readonly rations: Rations | undefined;
}

class RamBus implements Bus {
  readonly #name: string;
  readonly #net: Net;
  readonly #clock: Clock;
  readonly #envelopes: Envelopes;
  readonly #rations: Rations | undefined;
  readonly #refusals: Refusals;
  readonly #own = new Set<Receiver>();
  #connected = true;
  readonly #listeners = new Set<(connected: boolean) => void>();
  readonly #closed = new AbortController();

  constructor({ name, net, clock, envelopes, rations }: RamBusParts) {
    this.#name = name;
    this.#net = net;
    this.#clock = clock;
    this.#envelopes = envelopes;
    this.#rations = rations;
    this.#refusals = new Refusals(envelopes);
  }

  get connected(): boolean {
    return this.#connected;
  }

  onStatus(listener: (connected: boolean) => void): Subscription {
    this.#listeners.add(listener);
    return { stop: () => this.#listeners.delete(listener) };
  }

  onRefusal(listener: RefusalListener): Subscription {
    return this.#refusals.on(listener);
  }

  publish(subject: string, body: unknown): void {
    const json = encodeBody(body, subject);
    if (!this.#connected) return;
    tell(this.#envelopes, subject, json, {
      publish: (bytes) => this.#send(subject, bytes),
      request: (bytes, timeoutMs) => this.#ask(subject, bytes, timeoutMs),
    });
  }

  async request(subject: string, body: unknown, timeoutMs: number): Promise<unknown> {
    const json = encodeBody(body, subject);
    return decodeBody(await ask(this.#envelopes, subject, json, (bytes) => this.#ask(subject, bytes, timeoutMs)));
  }

  async #ask(subject: string, bytes: Uint8Array, timeoutMs: number): Promise<Uint8Array> {
    if (!this.#connected) throw new ClusterError("bus_unreachable", `${subject}: the connection is closed`);
    const { promise, resolve, reject } = Promise.withResolvers<Uint8Array>();
    const timer = this.#clock.after(timeoutMs, () => reject(new ClusterError("bus_timeout", `${subject}: no answer in time`)));
    const respond = (from: string) => (answer: Uint8Array) => {
      this.#net.pass({ from, to: this.#name, subject }, this.#clock, () => {
        timer.cancel();
        if (this.#connected) resolve(answer);
      });
    };
    if (this.#send(subject, bytes, respond) === 0) {
      timer.cancel();
      reject(new ClusterError("bus_unreachable", `${subject}: nobody listens`));
    }
    return promise;
  }

  /** Its lines are endlessly fast. */
  deliver(subject: string, body: unknown, timeoutMs: number): Promise<unknown> {
    return this.request(subject, body, timeoutMs);
  }

  subscribe(pattern: string, handle: (message: Message) => void): Subscription {
    const deliver: Receiver["deliver"] = (bytes, subject, respond) => this.#receive(bytes, subject, respond, handle);
    const receiver: Receiver = { owner: this.#name, clock: this.#clock, pattern, stopped: false, deliver };
    this.#own.add(receiver);
    this.#net.add(receiver);
    return { stop: () => this.#drop(receiver) };
  }

  async append(subject: string, body: unknown): Promise<void> {
    const bytes = encodeBody(body, subject);
    if (!this.#connected) throw new ClusterError("bus_unreachable", `${subject}: the connection is closed`);
    await new Promise<void>((resolve) => {
      this.#clock.soon(() => {
        // A copy: small buffers lie in a pool, and each would keep a whole slab of it for as long as it is kept.
        this.#net.append({ subject, bytes: new Uint8Array(bytes) });
        resolve();
      });
    });
  }

  async *read(subject: string, options: ReadOptions): AsyncGenerator<Kept> {
    const signals = options.signal === undefined ? [this.#closed.signal] : [this.#closed.signal, options.signal];
    const signal = AbortSignal.any(signals);
    signal.addEventListener("abort", () => this.#net.wake(), { once: true });
    const last = this.#net.end;
    for (let number = 0; !signal.aborted && (options.follow || number < last);) {
      const found = this.#net.at(number);
      if (found.piece === undefined) {
        if (!options.follow) return;
        await this.#net.nextAppend();
        continue;
      }
      number = found.number + 1;
      if (found.piece.subject === subject) yield { body: decodeBody(found.piece.bytes) };
    }
  }

  /** It has room for all. */
  async keepFor(): Promise<void> {}

  async putBlob(name: string, bytes: Uint8Array): Promise<void> {
    blobPart(name, "end");
    if (bytes.length > LIMITS.resultBytesBlobMax)
      throw new ClusterError("payload_too_large", `blob ${name}: the limit is ${LIMITS.resultBytesBlobMax} bytes`);
    this.#net.blobs.set(name, Uint8Array.from(bytes));
  }

  async getBlob(name: string): Promise<Uint8Array | undefined> {
    blobPart(name, "end");
    return this.#net.blobs.get(name);
  }

  async close(): Promise<void> {
    if (!this.#connected) return;
    this.#connected = false;
    this.#refusals.close();
    for (const receiver of this.#own) this.#drop(receiver);
    this.#closed.abort();
    for (const listener of this.#listeners) listener(false);
  }

  #receive(
    bytes: Uint8Array,
    subject: string,
    respond: ((bytes: Uint8Array) => void) | undefined,
    handle: (message: Message) => void,
  ): void {
    const rations = subject.startsWith(FROM_NODES) ? this.#rations : undefined;
    if (rations?.take(senderOf(subject), bytes.length) === false) return this.#refusals.tell(senderOf(subject), "excess");
    const read = this.#envelopes.read(subject, bytes);
    if (read.kind === "refused") {
      if (read.challenge !== undefined) respond?.(read.challenge);
      return;
    }
    const body = decodeBody(read.body);
    const wasNews = (): void => rations?.giveBack(senderOf(subject), bytes.length);
    if (respond === undefined) handle({ subject, body, wasNews });
    else handle({ subject, body, wasNews, respond: (answer) => respond(read.answer(encodeBody(answer, subject))) });
  }

  /** Returns how many receivers there are, reached or not. */
  #send(subject: string, bytes: Uint8Array, respond?: (from: string) => (answer: Uint8Array) => void): number {
    const receivers = this.#net.receiversOf(subject);
    for (const receiver of receivers) {
      this.#net.pass({ from: this.#name, to: receiver.owner, subject }, receiver.clock, () => {
        if (receiver.stopped) return;
        receiver.deliver(bytes, subject, respond?.(receiver.owner));
      });
    }
    return receivers.length;
  }

  #drop(receiver: Receiver): void {
    receiver.stopped = true;
    this.#own.delete(receiver);
    this.#net.remove(receiver);
  }
}
