/**
 * The bus on NATS: core publish and request for what may be lost, streams for output and blobs.
 *
 * N1. A message from a node is handed on only if its reply subject, where it has one, lies in that node's own inbox: the
 *     server does not check this, and without it a node could have the coordinator answer into another node's subjects.
 * N2. Nothing thrown by a handler reaches the client library, where it would end the connection.
 */
import type { Trust } from "@openclaw-cluster/contract/client/certificate";
import type { NodeId } from "@openclaw-cluster/contract/ids";
import { setTimeout as delay } from "node:timers/promises";
import type { Msg, MsgHdrs } from "@nats-io/transport-node";
import type { Log } from "../system/log.ts";
import { decodeBody, encodeBody } from "./body.ts";
import type { Bus, Message, ReadOptions, Subscription } from "./bus.ts";
import { Lines } from "./line.ts";
import { watchAddresses } from "./nats-address.ts";
import { Appender, Requests } from "./nats-append.ts";
import { getBlob, putBlob } from "./nats-blobs.ts";
import { openConnection, type Connection } from "./nats-connection.ts";
import { Deliveries, heldFor, Joiner } from "./nats-delivery.ts";
import { ensureStreams, readOutput } from "./nats-streams.ts";
import { COORDINATOR_INBOX, inboxOf, senderOf } from "./subjects.ts";

export interface NatsOptions {
  readonly urls: readonly string[];
  /** Who may have certified nats-server, where it is reached by tls://. */
  readonly trust?: Trust | undefined;
  /** Absent: this is the coordinator, which also keeps the streams in being. */
  readonly node?: NodeId;
  /** `SU…` */
  readonly seed: Uint8Array | string;
  readonly log: Log;
  /** How long to try before the first connection; 10 s unless said. Later the bus reconnects for ever. */
  readonly firstConnectMs?: number;
  /** Gives up the first connection. */
  readonly signal?: AbortSignal;
  /** Called each time that nats-server refuses this node's key, long after it was let in. */
  readonly onRefused?: () => void;
}

const ENSURE_AGAIN_MS = 1_000;
const FROM_NODES = "ocx.up.";

/** Throws ClusterError: unauthorized, bus_unreachable, binary_missing (a server too old), certificate_refused, clock_apart. */
export async function connectNats(options: NatsOptions): Promise<Bus> {
  const { node, log } = options;
  const inboxPrefix = node === undefined ? COORDINATOR_INBOX : inboxOf(node);
  const connection = await openConnection({ ...options, inboxPrefix, name: node ?? "coordinator" });
  if (node === undefined) await keepStreams(connection, log);
  return new NatsBus(connection, log);
}

class NatsBus implements Bus {
  readonly #connection: Connection;
  readonly #log: Log;
  readonly #requests: Requests;
  readonly #deliveries: Deliveries;
  readonly #appender: Appender;
  readonly #addresses: Subscription;

  constructor(connection: Connection, log: Log) {
    this.#connection = connection;
    this.#addresses = watchAddresses(connection);
    this.#log = log;
    this.#requests = new Requests(connection);
    const lines = new Lines();
    this.#deliveries = new Deliveries(this.#requests, lines);
    this.#appender = new Appender(this.#requests, lines);
  }

  get connected(): boolean {
    return this.#connection.connected;
  }

  onStatus(listener: (connected: boolean) => void): Subscription {
    return this.#connection.onStatus(listener);
  }

  publish(subject: string, body: unknown): void {
    this.#publish(subject, body);
  }

  async request(subject: string, body: unknown, timeoutMs: number): Promise<unknown> {
    const answer = await this.#requests.send(subject, encodeBody(body, subject), timeoutMs);
    return decodeBody(answer.data);
  }

  async deliver(subject: string, body: unknown, timeoutMs: number): Promise<unknown> {
    const answer = await this.#deliveries.deliver(subject, encodeBody(body, subject), timeoutMs);
    return decodeBody(answer.data);
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

  read(pattern: string, options: ReadOptions): AsyncIterable<unknown> {
    return readOutput(this.#connection, pattern, options);
  }

  putBlob(name: string, bytes: Uint8Array): Promise<void> {
    return putBlob(this.#appender, name, bytes);
  }

  getBlob(name: string): Promise<Uint8Array | undefined> {
    return getBlob(this.#connection.nc, name);
  }

  close(): Promise<void> {
    this.#addresses.stop();
    return this.#connection.close();
  }

  #publish(subject: string, body: unknown, headers?: MsgHdrs): void {
    const bytes = encodeBody(body, subject);
    // The client library would keep it until the next attempt to connect, and then drop it.
    if (this.connected) this.#connection.nc.publish(subject, bytes, headers && { headers });
  }

  #receive(raw: Msg, joiner: Joiner, handle: (message: Message) => void): void {
    const { subject, reply } = raw;
    if (reply && subject.startsWith(FROM_NODES) && !reply.startsWith(`${inboxOf(senderOf(subject))}.`)) {
      return this.#log.warn({ subject }, "dropped a message that wants its answer sent to somebody else");
    }
    const bytes = joiner.join(raw);
    if (bytes === undefined) return;
    const body = decodeBody(bytes);
    if (body === undefined) return this.#log.warn({ subject }, "dropped a message that is no JSON");
    const receivedAt = performance.now();
    const respond = (answer: unknown): void => this.#publish(reply as string, answer, heldFor(performance.now() - receivedAt));
    try {
      handle(reply ? { subject, body, respond } : { subject, body });
    } catch (error) {
      this.#log.error({ subject, err: error }, "a handler of the bus threw");
    }
  }
}

/** The streams may be gone after a server's restart (its folder was deleted), so they are ensured at each connection. */
async function keepStreams(connection: Connection, log: Log): Promise<void> {
  try {
    await ensureStreams(connection.nc);
  } catch (error) {
    await connection.close();
    throw error;
  }
  const again = async (): Promise<void> => {
    while (connection.connected) {
      try {
        return await ensureStreams(connection.nc);
      } catch (error) {
        log.error({ err: error }, "the streams of the bus could not be made");
        await delay(ENSURE_AGAIN_MS, undefined, { ref: false });
      }
    }
  };
  connection.onStatus((connected) => {
    if (connected) void again();
  });
}
