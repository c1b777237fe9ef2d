/**
 * The line to one node: how much may be under way on it at once. Whatever is sent stands in one row, and a heartbeat or a
 * ping that is sent behind a megabyte arrives after it, on a line of 64 kB/s 16 s later: a node that works would count
 * as lost. So whatever may be large (B6 in bus.ts) waits here for room, and heartbeats find a short row.
 *
 * Nobody tells how fast a line is; the time that answers take does. Within a second or so of bytes on their way both ways, a heartbeat
 * is heard after 2 s + 1.5 s at most, where SUSPECT_MS is 6 s, and answered within 3 s, where a lease has 9 s and a
 * connection 6 s for its pings.
 *
 * L1. No more than `size` bytes are under way; what is larger goes alone.
 * L2. `size` grows only by answers that came fast while the line was full. A slow one shrinks it to as much as would have
 *     been fast, of what was under way with it. So a fast line carries SIZE_MAX_BYTES a round trip, after some round trips.
 * L3. Room is given in the order in which it was asked for.
 */
import { ClusterError } from "@openclaw-cluster/contract/errors";
import { nodeOf } from "./subjects.ts";

/** A second on a line of 64 kB/s. */
const SIZE_START_BYTES = 64 * 1024;
/** Half a second there; lower it would fill no line with a long way. */
const SIZE_MIN_BYTES = 32 * 1024;
/** 20 MB/s over a way of 100 ms. */
export const SIZE_MAX_BYTES = 2 * 1024 * 1024;
/** Above the round trip of a poor line, a satellite's included; so long a heartbeat may wait, there and back. */
const FAST_MS = 1_000;
const SLOW_MS = 1_500;
/** What stands around a message on the wire, and in memory. */
const AROUND_BYTES = 256;
const WAITING_MAX = 1_024;

/** Taken on the line from the sending to the answer. */
export interface Room {
  /** `heldMs`: of that time the other side itself took so long. */
  answered(heldMs?: number): void;
  failed(): void;
}

export class Line {
  readonly #now: () => number;
  readonly #waiting: { readonly bytes: number; readonly enter: () => void }[] = [];
  #size = SIZE_START_BYTES;
  #underWay = 0;
  #underWayBytes = 0;

  constructor(now: () => number = () => performance.now()) {
    this.#now = now;
  }

  get size(): number {
    return this.#size;
  }

  /** Resolves when there is room, which the caller must give back. Throws overloaded. */
  async enter(payloadBytes: number): Promise<Room> {
    const bytes = payloadBytes + AROUND_BYTES;
    if (this.#waiting.length > 0 || !this.#hasRoom(bytes)) {
      if (this.#waiting.length >= WAITING_MAX) throw new ClusterError("overloaded", `more than ${WAITING_MAX} messages wait for one line`);
      await new Promise<void>((resolve) => this.#waiting.push({ bytes, enter: resolve }));
    } else this.#count(bytes);
    return this.#room(bytes, this.#underWayBytes, this.#now());
  }

  #room(bytes: number, withOthersBytes: number, sentAt: number): Room {
    const shrink = (tookMs: number): void => {
      const fastBytes = (withOthersBytes * FAST_MS) / tookMs;
      this.#size = Math.max(SIZE_MIN_BYTES, Math.min(this.#size, fastBytes));
    };
    return {
      answered: (heldMs = 0) => {
        const tookMs = this.#now() - sentAt - heldMs;
        const isFull = this.#waiting.length > 0 || this.#underWayBytes * 2 > this.#size;
        if (tookMs > SLOW_MS) shrink(tookMs);
        // The less, the nearer: what is under way was let in before this was known.
        else if (tookMs < FAST_MS && isFull) this.#size = Math.min(SIZE_MAX_BYTES, this.#size + bytes * (1 - tookMs / FAST_MS));
        this.#leave(bytes);
      },
      failed: () => {
        shrink(Math.max(SLOW_MS, this.#now() - sentAt));
        this.#leave(bytes);
      },
    };
  }

  #hasRoom(bytes: number): boolean {
    return this.#underWay === 0 || this.#underWayBytes + bytes <= this.#size;
  }

  #count(bytes: number): void {
    this.#underWay += 1;
    this.#underWayBytes += bytes;
  }

  /** The room goes straight to the next in line, so that nobody can step in between. */
  #leave(bytes: number): void {
    this.#underWay -= 1;
    this.#underWayBytes -= bytes;
    for (let next = this.#waiting[0]; next !== undefined && this.#hasRoom(next.bytes); next = this.#waiting[0]) {
      this.#waiting.shift();
      this.#count(next.bytes);
      next.enter();
    }
  }
}

/** The lines of one connection: a worker has its own, the coordinator one for each node. */
export class Lines {
  readonly #lines = new Map<string, Line>();

  of(subject: string): Line {
    const node = nodeOf(subject);
    const line = this.#lines.get(node) ?? new Line();
    this.#lines.set(node, line);
    return line;
  }
}
