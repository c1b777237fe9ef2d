/**
 * Requests over one connection, and the appending to streams that is built on them.
 *
 * A1. A request ends when the connection does: waiting for its time-out would only delay the next try.
 * A2. `append` needs no right in JetStream's API: it is a publish whose reply is the stream's acknowledgement. It is tried
 *     again, under the same message id, until APPEND_MS_MAX is over or the connection is closed, so that a server's restart
 *     is only a delay and the piece is stored once. What still tries keeps the process alive.
 * A3. At most IN_FLIGHT_MAX pieces of IN_FLIGHT_BYTES_MAX together are under way; the rest wait in order, at most WAITING_MAX.
 */
import { randomUUID } from "node:crypto";
import { setTimeout as delay } from "node:timers/promises";
import { JetStreamApiError, type ApiError } from "@nats-io/jetstream";
import { headers, type Msg, type MsgHdrs } from "@nats-io/transport-node";
import { ClusterError } from "@openclaw-cluster/contract/errors";
import { busError, type Connection } from "./nats-connection.ts";

const APPEND_MS_MAX = 30_000;
const ACK_MS_MAX = 5_000;
const RETRY_MS = 250;
const IN_FLIGHT_MAX = 64;
/** Heartbeats and pings share the connection and wait behind it: 2 s on a line of 64 kB/s. A larger piece goes alone. */
const IN_FLIGHT_BYTES_MAX = 128 * 1024;
const WAITING_MAX = 1_024;

export class Requests {
  readonly #connection: Connection;
  readonly #pending = new Set<(error: ClusterError) => void>();

  constructor(connection: Connection) {
    this.#connection = connection;
    connection.onStatus((connected) => {
      if (connected) return;
      for (const reject of this.#pending) reject(new ClusterError("bus_unreachable", "the connection was lost before the answer came"));
      this.#pending.clear();
    });
  }

  /** Nothing can be sent any more. */
  get over(): boolean {
    return this.#connection.nc.isClosed();
  }

  send(subject: string, payload: Uint8Array, timeoutMs: number, messageHeaders?: MsgHdrs): Promise<Msg> {
    if (!this.#connection.connected) return Promise.reject(new ClusterError("bus_unreachable", `${subject}: the connection is down`));
    return new Promise((resolve, reject) => {
      this.#pending.add(reject);
      const options = messageHeaders === undefined ? { timeout: timeoutMs } : { timeout: timeoutMs, headers: messageHeaders };
      this.#connection.nc.request(subject, payload, options).then(
        (message) => {
          this.#pending.delete(reject);
          resolve(message);
        },
        (error: unknown) => {
          this.#pending.delete(reject);
          reject(busError(error, subject));
        },
      );
    });
  }
}

export class Appender {
  readonly #requests: Requests;
  readonly #waiting: { readonly bytes: number; readonly enter: () => void }[] = [];
  #inFlight = 0;
  #inFlightBytes = 0;

  constructor(requests: Requests) {
    this.#requests = requests;
  }

  async append(subject: string, payload: Uint8Array): Promise<void> {
    await this.#enter(payload.length);
    try {
      await this.#untilStored(subject, payload);
    } finally {
      this.#leave(payload.length);
    }
  }

  async #untilStored(subject: string, payload: Uint8Array): Promise<void> {
    const messageHeaders = headers();
    messageHeaders.set("Nats-Msg-Id", randomUUID());
    const start = performance.now();
    for (;;) {
      try {
        const ack = await this.#requests.send(subject, payload, ACK_MS_MAX, messageHeaders);
        const { error } = JSON.parse(ack.string()) as { error?: ApiError };
        if (error !== undefined) throw busError(new JetStreamApiError(error), subject);
        return;
      } catch (error) {
        const worthAnotherTry = error instanceof ClusterError && (error.code === "bus_timeout" || error.code === "bus_unreachable");
        if (!worthAnotherTry || this.#requests.over || performance.now() - start + RETRY_MS > APPEND_MS_MAX) throw error;
        await delay(RETRY_MS);
      }
    }
  }

  async #enter(bytes: number): Promise<void> {
    if (this.#waiting.length === 0 && this.#hasRoom(bytes)) return this.#count(bytes);
    if (this.#waiting.length >= WAITING_MAX)
      throw new ClusterError("overloaded", `more than ${WAITING_MAX} pieces of output wait to be stored`);
    await new Promise<void>((resolve) => this.#waiting.push({ bytes, enter: resolve }));
  }

  /** The place goes straight to the next in line, so that nobody can step in between. */
  #leave(bytes: number): void {
    this.#inFlight -= 1;
    this.#inFlightBytes -= bytes;
    for (let next = this.#waiting[0]; next !== undefined && this.#hasRoom(next.bytes); next = this.#waiting[0]) {
      this.#waiting.shift();
      this.#count(next.bytes);
      next.enter();
    }
  }

  #hasRoom(bytes: number): boolean {
    return this.#inFlight === 0 || (this.#inFlight < IN_FLIGHT_MAX && this.#inFlightBytes + bytes <= IN_FLIGHT_BYTES_MAX);
  }

  #count(bytes: number): void {
    this.#inFlight += 1;
    this.#inFlightBytes += bytes;
  }
}
