/**
 * The bus on NATS: core publish and request for what may be lost, streams for output and blobs.
 *
 * N1. A message from a node is handed on only if its reply subject, where it has one, lies in that node's own inbox: the
 *     server does not check this, and without it a node could have the coordinator answer into another node's subjects.
 * N2. Nothing thrown by a handler reaches the client library, where it would end the connection.
 */
import type { Trust } from "@openclaw-cluster/contract/client/certificate";
import { ClusterError } from "@openclaw-cluster/contract/errors";
import type { NodeId } from "@openclaw-cluster/contract/ids";
import type { Msg, MsgHdrs } from "@nats-io/transport-node";
import { systemClock } from "../system/clock.ts";
import type { Log } from "../system/log.ts";
import { sparingLog, type SparingLog } from "../system/sparing-log.ts";
import { decodeBody, encodeBody } from "./body.ts";
import type { Bus, Kept, Message, ReadOptions, RefusalListener, Subscription } from "./bus.ts";
import { ask, tell, type Envelopes } from "./envelope-door.ts";
import { Lines } from "./line.ts";
import { watchAddresses } from "./nats-address.ts";
import { Appender, Requests } from "./nats-append.ts";
import { getBlob, putBlob } from "./nats-blobs.ts";
import { openConnection, seedBytes, type Connection, type ConnectionOptions } from "./nats-connection.ts";
import { Deliveries, heldFor, Joiner } from "./nats-delivery.ts";
import { Keeper } from "./nats-keeper.ts";
import { readOutput } from "./nats-output.ts";
import { outputStream } from "./nats-streams.ts";
import { askedWord } from "./nats-words.ts";
import type { Rations } from "./rations.ts";
import { Refusals } from "./refusals.ts";
import { ANY_WORD, COORDINATOR, COORDINATOR_INBOX, FROM_NODES, inboxOf, keptUnder, nodeOf, senderOf, wordFrom } from "./subjects.ts";

export interface NatsOptions {
  /** Several are servers of one cluster. */
  readonly urls: readonly string[];
  /** It begins at the first, and comes back to it: that of its own daemon. */
  readonly prefersFirst?: boolean;
  /** Of the coordinator: on how many servers each stream is kept, asked at each look at them. 1 without. */
  readonly replicas?: () => number;
  /** Who may have certified nats-server, where it is reached by tls://. */
  readonly trust?: Trust | undefined;
  /** Of the coordinator: how much it hears of each node; all that they say, without. */
  readonly rations?: Rations;
  /** Absent: this is the coordinator, which also keeps the streams in being. */
  readonly node?: NodeId;
  /** `SU…` */
  readonly seed: ConnectionOptions["seed"];
  readonly envelopes: Envelopes;
  readonly log: Log;
  /** How long to try before the first connection; 10 s unless said. Later the bus reconnects for ever. */
  readonly firstConnectMs?: number;
  /** Gives up the first connection. */
  readonly signal?: AbortSignal;
  /** Called each time that nats-server refuses this node's key, long after it was let in. */
  readonly onRefused?: () => void;
}

/** Of which other servers may become the way, as the coordinator tells. */
export interface MovableBus extends Bus {
  /** These are the servers now. The connection stays where it is, for as long as that one lives; if it is none of them, it is left at once. */
  reach(urls: readonly string[]): void;
}

const WORD_MS_MAX = 5_000;

/** Throws ClusterError: unauthorized, bus_unreachable, binary_missing (a server too old), certificate_refused, clock_apart. */
export async function connectNats(options: NatsOptions): Promise<NatsBus> {
  const { node } = options;
  const inboxPrefix = node === undefined ? COORDINATOR_INBOX : inboxOf(node);
  const connection = await openConnection({ ...options, inboxPrefix, name: node ?? "coordinator" });
  return new NatsBus(connection, options);
}

export class NatsBus implements MovableBus {
  readonly #connection: Connection;
  readonly #log: Log;
  readonly #complaints: SparingLog;
  readonly #envelopes: Envelopes;
  readonly #rations: Rations | undefined;
  readonly #requests: Requests;
  readonly #deliveries: Deliveries;
  readonly #appender: Appender;
  readonly #addresses: Subscription;
  readonly #refusals: Refusals;
  /** The coordinator's. */
  readonly #keeper: Keeper | undefined;

  constructor(connection: Connection, { node, seed, envelopes, log, rations, replicas = () => 1 }: NatsOptions) {
    this.#connection = connection;
    this.#addresses = watchAddresses(connection);
    this.#log = log;
    this.#complaints = sparingLog(log, systemClock);
    this.#envelopes = envelopes;
    this.#rations = rations;
    this.#refusals = new Refusals(envelopes);
    this.#requests = new Requests(connection);
    const lines = new Lines();
    this.#deliveries = new Deliveries(this.#requests, lines);
    this.#keeper = node === undefined ? new Keeper(connection, { seed: seedBytes(seed), replicas, log }) : undefined;
    const words = this.#keeper ?? askedWord(() => this.request(wordFrom(node as NodeId), {}, WORD_MS_MAX));
    this.#appender = new Appender(this.#requests, lines, words);
    if (this.#keeper !== undefined) this.subscribe(ANY_WORD, this.#keeper.tell);
  }

  get connected(): boolean {
    return this.#connection.connected;
  }

  /** `host:port` of the server that it is, or was last, connected to. */
  get server(): string {
    return this.#connection.server;
  }

  reach(urls: readonly string[]): void {
    this.#connection.reach(urls);
    this.#keeper?.serversChanged();
  }

  onStatus(listener: (connected: boolean) => void): Subscription {
    return this.#connection.onStatus(listener);
  }

  onRefusal(listener: RefusalListener): Subscription {
    return this.#refusals.on(listener);
  }

  publish(subject: string, body: unknown): void {
    const json = encodeBody(body, subject);
    // The client library would keep it until the next attempt to connect, and then drop it.
    if (!this.connected) return;
    tell(this.#envelopes, subject, json, {
      publish: (bytes) => this.#connection.nc.publish(subject, bytes),
      request: (bytes, timeoutMs) => this.#request(subject, bytes, timeoutMs),
    });
  }

  async request(subject: string, body: unknown, timeoutMs: number): Promise<unknown> {
    const send = (bytes: Uint8Array): Promise<Uint8Array> => this.#request(subject, bytes, timeoutMs);
    return decodeBody(await ask(this.#envelopes, subject, encodeBody(body, subject), send));
  }

  async deliver(subject: string, body: unknown, timeoutMs: number): Promise<unknown> {
    const send = async (bytes: Uint8Array): Promise<Uint8Array> => (await this.#deliveries.deliver(subject, bytes, timeoutMs)).data;
    return decodeBody(await ask(this.#envelopes, subject, encodeBody(body, subject), send));
  }

  subscribe(pattern: string, handle: (message: Message) => void): Subscription {
    const joiner = new Joiner();
    const subscription = this.#connection.nc.subscribe(pattern, {
      callback: (error, message) => {
        if (error === null) this.#receive(message, joiner, handle);
        else this.#log.error({ pattern, err: error }, "subscription ended by nats-server");
      },
    });
    return { stop: () => subscription.unsubscribe() };
  }

  async append(subject: string, body: unknown): Promise<void> {
    await this.#appender.append(subject, encodeBody(body, subject));
  }

  async *read(subject: string, options: ReadOptions): AsyncGenerator<Kept> {
    const keeper = this.#coordinators(subject);
    const node = nodeOf(subject);
    const stream = outputStream(node);
    const place = { stream, subject: keptUnder(subject, await keeper.of(node)), isKept: () => keeper.keeps(node) };
    yield* readOutput(this.#connection, place, options);
  }

  keepFor(nodes: readonly NodeId[]): Promise<void> {
    return this.#coordinators("streams").keepFor(nodes);
  }

  putBlob(name: string, bytes: Uint8Array): Promise<void> {
    return putBlob(this.#appender, name, bytes);
  }

  async getBlob(name: string): Promise<Uint8Array | undefined> {
    return getBlob(this.#connection, this.#coordinators(name), name);
  }

  close(): Promise<void> {
    this.#addresses.stop();
    this.#refusals.close();
    return this.#connection.close();
  }

  /** What nats-server would refuse to a node as well. */
  #coordinators(what: string): Keeper {
    if (this.#keeper === undefined) throw new ClusterError("forbidden", `${what}: what is kept is the coordinator's to read`);
    return this.#keeper;
  }

  async #request(subject: string, bytes: Uint8Array, timeoutMs: number): Promise<Uint8Array> {
    return (await this.#requests.send(subject, bytes, timeoutMs)).data;
  }

  #answer(reply: string, bytes: Uint8Array, headers?: MsgHdrs): void {
    if (this.connected) this.#connection.nc.publish(reply, bytes, headers && { headers });
  }

  #receive(raw: Msg, joiner: Joiner, handle: (message: Message) => void): void {
    const { subject, reply } = raw;
    const isFromNode = subject.startsWith(FROM_NODES);
    const rations = isFromNode ? this.#rations : undefined;
    // Before it costs anything more (B8); of what goes in parts each part.
    if (rations?.take(senderOf(subject), raw.data.length) === false) return this.#refusals.tell(senderOf(subject), "excess");
    if (reply && !reply.startsWith(`${isFromNode ? inboxOf(senderOf(subject)) : COORDINATOR_INBOX}.`)) {
      this.#complaints.warn(nodeOf(subject), { subject }, "dropped a message that wants its answer sent to somebody else");
      return this.#refusals.tell(isFromNode ? senderOf(subject) : COORDINATOR, "misdirected");
    }
    const bytes = joiner.join(raw);
    if (bytes === undefined) return;
    const read = this.#envelopes.read(subject, bytes);
    if (read.kind === "refused") {
      if (reply && read.challenge !== undefined) this.#answer(reply, read.challenge);
      return;
    }
    const body = decodeBody(read.body);
    if (body === undefined) return this.#complaints.warn(nodeOf(subject), { subject }, "dropped a message that is no JSON");
    const receivedAt = performance.now();
    const respond = (answer: unknown): void => {
      try {
        this.#answer(reply as string, read.answer(encodeBody(answer, subject)), heldFor(performance.now() - receivedAt));
      } catch (error) {
        // Whoever answers has done what was asked; that the answer is too large for a message must not stop it in its turn.
        this.#complaints.warn(nodeOf(subject), { subject, err: error }, "an answer could not be sent");
      }
    };
    const wasNews = (): void => rations?.giveBack(senderOf(subject), bytes.length);
    try {
      handle(reply ? { subject, body, respond, wasNews } : { subject, body, wasNews });
    } catch (error) {
      // Once would be too often; but whoever found out how to do it may do it again and again.
      this.#complaints.warn(nodeOf(subject), { subject, err: error }, "a handler of the bus threw");
    }
  }
}
