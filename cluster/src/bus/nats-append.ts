/**
 * Requests over one connection, and the appending to streams that is built on them.
 *
 * A1. A request ends when the connection does: waiting for its time-out would only delay the next try.
 * A2. `append` needs no right in JetStream's API: it is a publish whose reply is the stream's acknowledgement. It is tried
 *     again, under the same message id, until APPEND_MS_MAX is over or the connection is closed, so that a server's restart,
 *     or the election of a stream's leader (5 to 10 s), is only a delay and the piece is stored once. What still tries keeps the process alive.
 * A3. A piece waits for room on the line first (line.ts), in order.
 * A4. It goes where only this node can have it kept (nats-words.ts).
 */
import { randomUUID } from "node:crypto";
import { setTimeout as delay } from "node:timers/promises";
import { JetStreamApiError, type ApiError } from "@nats-io/jetstream";
import { headers, type Msg, type MsgHdrs } from "@nats-io/transport-node";
import { ClusterError } from "@openclaw-cluster/contract/errors";
import type { Lines } from "./line.ts";
import { busError, isPassing, type Connection } from "./nats-connection.ts";
import type { Words } from "./nats-words.ts";
import { keptUnder, nodeOf } from "./subjects.ts";

const APPEND_MS_MAX = 30_000;
const ACK_MS_MAX = 5_000;
const RETRY_MS = 250;

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
  readonly #lines: Lines;
  readonly #words: Words;

  constructor(requests: Requests, lines: Lines, words: Words) {
    this.#requests = requests;
    this.#lines = lines;
    this.#words = words;
  }

  async append(subject: string, payload: Uint8Array): Promise<void> {
    const room = await this.#lines.of(subject).enter(payload.length);
    try {
      await this.#untilStored(subject, payload);
      room.answered();
    } catch (error) {
      room.failed();
      throw error;
    }
  }

  async #untilStored(subject: string, payload: Uint8Array): Promise<void> {
    const messageHeaders = headers();
    messageHeaders.set("Nats-Msg-Id", randomUUID());
    const start = performance.now();
    for (;;) {
      try {
        // A4
        const kept = keptUnder(subject, await this.#words.of(nodeOf(subject)));
        const ack = await this.#requests.send(kept, payload, ACK_MS_MAX, messageHeaders);
        const { error } = JSON.parse(ack.string()) as { error?: ApiError };
        if (error !== undefined) throw busError(new JetStreamApiError(error), subject);
        return;
      } catch (error) {
        if (!isPassing(error) || this.#requests.over || performance.now() - start + RETRY_MS > APPEND_MS_MAX) throw error;
        await delay(RETRY_MS);
      }
    }
  }
}
