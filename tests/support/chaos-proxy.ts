/**
 * A TCP proxy with bad weather, each direction for itself: latency with jitter, a narrow pipe, slow slices, bytes that
 * vanish, connections that are cut in the midst, reset, or left without their answer. Chance comes from a seed.
 *
 * C1. Bytes keep their order, and none is lost unless the weather swallows it.
 * C2. A direction that swallows is silent: no end passes it either, as on a network that is cut. What ended meanwhile is
 *     told when the weather clears.
 */
import { connect, createServer, type AddressInfo, type ListenOptions, type NetConnectOpts, type Socket } from "node:net";
import { setTimeout as delay } from "node:timers/promises";

export interface Weather {
  readonly latencyMs?: number;
  /** Up to so much more, by chance. */
  readonly jitterMs?: number;
  readonly bytesPerSecond?: number;
  /** What comes in one piece arrives in slices of this size; with `bytesPerSecond` it drips. */
  readonly sliceBytes?: number;
  readonly swallow?: boolean;
  /** A connection is cut when this many of its bytes have passed. */
  readonly cutAtByte?: number;
}

export interface ChaosProxyOptions {
  /** A free port of loopback unless said. */
  readonly listen?: ListenOptions;
  readonly target?: NetConnectOpts;
  readonly seed?: number;
}

export interface ChaosProxy {
  readonly port: number;
  /** Where connections lead; set it before the first one. */
  target: NetConnectOpts;
  /** Connections that stand now. */
  readonly open: number;
  /** To see that the weather has struck. */
  readonly swallowedBytes: number;
  /** So many connections are cut at the next byte of an answer: the request arrived, the answer does not. */
  answersToCut: number;
  /** For the bytes towards the target and for those that come back; absent: none. */
  weather(weather: { readonly up?: Weather; readonly down?: Weather }): void;
  cutAll(): void;
  /** As `cutAll`, but the other side is told with a reset. */
  resetAll(): void;
  close(): Promise<void>;
}

/** What waits in one direction of one connection; beyond it the sender is held back, as by a full router. */
const QUEUED_BYTES_MAX = 64 * 1_024;

export async function openChaosProxy(options: ChaosProxyOptions = {}): Promise<ChaosProxy> {
  const random = seeded(options.seed ?? 1);
  const lanes = new Set<Lane>();
  const sockets = new Set<Socket>();
  let swallowedBytes = 0;
  const swallowed = (bytes: number): void => void (swallowedBytes += bytes);
  let now: { readonly up?: Weather; readonly down?: Weather } = {};
  const server = createServer({ allowHalfOpen: true }, (near) => {
    const far = connect({ ...proxy.target, allowHalfOpen: true });
    const cutNow = (): boolean => proxy.answersToCut > 0 && proxy.answersToCut-- > 0;
    const up = new Lane({ from: near, to: far, weather: () => now.up ?? {}, random, swallowed });
    const down = new Lane({ from: far, to: near, weather: () => now.down ?? {}, random, swallowed, cutNow });
    for (const [lane, socket] of [
      [up, near],
      [down, far],
    ] as const) {
      lanes.add(lane);
      sockets.add(socket);
      socket.once("close", () => {
        lanes.delete(lane);
        sockets.delete(socket);
      });
    }
  });
  await new Promise<void>((resolve, reject) => {
    server.once("error", reject);
    server.listen(options.listen ?? { port: 0, host: "127.0.0.1" }, resolve);
  });
  const address = server.address() as AddressInfo | string;
  const proxy: ChaosProxy = {
    port: typeof address === "string" ? 0 : address.port,
    target: options.target ?? { port: 0 },
    answersToCut: 0,
    get swallowedBytes() {
      return swallowedBytes;
    },
    get open() {
      return sockets.size / 2;
    },
    weather(weather) {
      now = weather;
      for (const lane of lanes) lane.clear();
    },
    cutAll() {
      for (const socket of sockets) socket.destroy();
    },
    resetAll() {
      // A local socket that is no TCP connection has no reset.
      for (const socket of sockets) if (socket.remoteAddress !== undefined) socket.resetAndDestroy();
      proxy.cutAll();
    },
    close() {
      const closed = new Promise<void>((resolve) => server.close(() => resolve()));
      proxy.cutAll();
      return closed;
    },
  };
  return proxy;
}

interface LaneParts {
  readonly from: Socket;
  readonly to: Socket;
  readonly weather: () => Weather;
  readonly random: () => number;
  readonly swallowed: (bytes: number) => void;
  /** Is the connection to be cut in the place of what came? */
  readonly cutNow?: () => boolean;
}

/** One direction of one connection. */
class Lane {
  readonly #parts: LaneParts;
  /** Resolves when everything that came so far has been delivered. */
  #delivered: Promise<void> = Promise.resolve();
  #queuedBytes = 0;
  #passedBytes = 0;
  /** When the narrow pipe is free again, and when the last piece is due. */
  #freeAt = 0;
  #dueAt = 0;
  #heldBack: (() => void)[] = [];

  constructor(parts: LaneParts) {
    this.#parts = parts;
    const { from, to } = parts;
    from.on("data", (bytes: Buffer) => (parts.cutNow?.() === true ? to.destroy() : this.#take(bytes)));
    from.on("end", () => this.#tell(() => to.end()));
    from.on("error", () => this.#tell(() => to.destroySoon()));
    from.on("close", () => this.#tell(() => to.destroySoon()));
    to.on("drain", () => this.#regulate());
  }

  /** The weather has changed: what was held back may pass. */
  clear(): void {
    if (this.#parts.weather().swallow === true) return;
    for (const end of this.#heldBack.splice(0)) end();
  }

  #take(bytes: Buffer): void {
    const { latencyMs = 0, jitterMs = 0, bytesPerSecond = Number.POSITIVE_INFINITY, sliceBytes = bytes.length } = this.#parts.weather();
    for (let at = 0; at < bytes.length; at += sliceBytes) {
      const slice = bytes.subarray(at, at + sliceBytes);
      this.#freeAt = Math.max(this.#freeAt, performance.now()) + (slice.length / bytesPerSecond) * 1_000;
      this.#dueAt = Math.max(this.#dueAt, this.#freeAt + latencyMs + jitterMs * this.#parts.random());
      const dueAt = this.#dueAt;
      this.#queuedBytes += slice.length;
      this.#after(() => this.#deliver(slice, dueAt));
    }
    this.#regulate();
  }

  async #deliver(slice: Buffer, dueAt: number): Promise<void> {
    const { to, weather, swallowed } = this.#parts;
    const waitMs = dueAt - performance.now();
    if (waitMs > 0) await delay(waitMs);
    this.#queuedBytes -= slice.length;
    const { swallow = false, cutAtByte = Number.POSITIVE_INFINITY } = weather();
    if (swallow) swallowed(slice.length);
    else if (to.writable) {
      to.write(slice.subarray(0, cutAtByte - this.#passedBytes));
      this.#passedBytes += slice.length;
      if (this.#passedBytes >= cutAtByte) to.destroySoon();
    }
    this.#regulate();
  }

  #tell(end: () => void): void {
    this.#after(async () => {
      if (this.#parts.weather().swallow === true) this.#heldBack.push(end);
      else end();
    });
  }

  /** Steps never reject: sockets tell their faults by events. */
  #after(step: () => Promise<void>): void {
    this.#delivered = this.#delivered.then(step);
  }

  #regulate(): void {
    const { from, to } = this.#parts;
    if (this.#queuedBytes > QUEUED_BYTES_MAX || to.writableNeedDrain) from.pause();
    else if (from.isPaused()) from.resume();
  }
}

/** The same numbers from 0 to 1 for the same seed (xorshift). */
function seeded(seed: number): () => number {
  let state = seed || 1;
  return () => {
    state ^= state << 13;
    state ^= state >>> 17;
    state ^= state << 5;
    return (state >>> 0) / 0x1_0000_0000;
  };
}
