/** The line over lines of any speed, in time that the test moves: how long heartbeats wait behind it, and what it carries. */
import type { NodeId, TaskId } from "@openclaw-cluster/contract/ids";
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { HandClock } from "../../../tests/support/hand-clock.ts";
import { Line, Lines, SIZE_MAX_BYTES, type Room } from "./line.ts";
import { offersTo, outputOf, reportFrom } from "./subjects.ts";

const PART = 16 * 1_024;
/** The slowest line on which a working node must not count as silent (docs/reliability.md, F21). */
const SLOW = 64_000;
/** Enough to fill the largest size. */
const SENDERS = 160;

const turn = (): Promise<void> => new Promise((resolve) => void setImmediate(resolve));

interface Flood {
  /** The longest that a heartbeat would have waited behind what was under way. */
  readonly waitedMs: number;
  readonly carriedBytes: number;
}

/** Everybody sends at once and without an end, over a wire of so many bytes a second with so long a way there and back. */
class Wire {
  readonly clock = new HandClock();
  readonly line = new Line(() => this.clock.monotonic());
  bytesPerSecond: number;
  roundMs: number;
  private freeAt = 0;
  private carriedBytes = 0;

  constructor(bytesPerSecond: number, roundMs: number) {
    this.bytesPerSecond = bytesPerSecond;
    this.roundMs = roundMs;
    for (let n = 0; n < SENDERS; n++) void this.send();
  }

  async flood(ms: number, stepMs = 5): Promise<Flood> {
    const before = this.carriedBytes;
    let waitedMs = 0;
    for (let passed = 0; passed < ms; passed += stepMs) {
      await turn();
      waitedMs = Math.max(waitedMs, this.freeAt - this.clock.monotonic());
      this.clock.advance(stepMs);
    }
    return { waitedMs, carriedBytes: this.carriedBytes - before };
  }

  private async send(): Promise<void> {
    const room = await this.line.enter(PART);
    const { clock } = this;
    this.freeAt = Math.max(this.freeAt, clock.monotonic()) + (PART / this.bytesPerSecond) * 1_000;
    clock.after(this.freeAt + this.roundMs - clock.monotonic(), () => {
      this.carriedBytes += PART;
      room.answered();
      void this.send();
    });
  }
}

test("a heartbeat never waits longer than a second and a half behind it, on any line of 64 kB/s or more, and the line is used", async () => {
  await fc.assert(
    fc.asyncProperty(fc.double({ min: 0, max: 3, noNaN: true }), fc.integer({ min: 0, max: 600 }), async (magnitude, roundMs) => {
      const bytesPerSecond = SLOW * 10 ** magnitude;
      const wire = new Wire(bytesPerSecond, roundMs);
      const first = await wire.flood(10_000, 10);
      const then = await wire.flood(5_000, 10);
      expect(Math.max(first.waitedMs, then.waitedMs)).toBeLessThan(1_500);
      const whole = Math.min(bytesPerSecond, SIZE_MAX_BYTES / ((roundMs + 20) / 1_000));
      expect(then.carriedBytes / 5).toBeGreaterThan(0.6 * whole);
    }),
    { numRuns: 30 },
  );
});

test("a fast line that turns slow is noticed by what is under way, and by nothing more", async () => {
  const wire = new Wire(10_000_000, 20);
  await wire.flood(2_000);
  wire.bytesPerSecond = SLOW;
  await wire.flood(45_000, 20);
  expect((await wire.flood(10_000, 20)).waitedMs).toBeLessThan(1_500);
  wire.bytesPerSecond = 10_000_000;
  await wire.flood(2_000);
  expect((await wire.flood(1_000)).carriedBytes).toBeGreaterThan(5_000_000);
});

describe("a line", () => {
  const enterAll = async (line: Line, bytes: readonly number[]): Promise<{ rooms: Room[]; order: number[] }> => {
    const rooms: Room[] = [];
    const order: number[] = [];
    for (const [n, size] of bytes.entries()) {
      void line.enter(size).then((room) => {
        rooms.push(room);
        order.push(n);
      });
    }
    await turn();
    return { rooms, order };
  };

  test("L1 a large message goes alone, L3 and nobody steps in before it", async () => {
    const line = new Line();
    const { rooms, order } = await enterAll(line, [10_000, 1_000_000, 10, 10]);
    expect(order).toEqual([0]);
    rooms[0]?.answered();
    await turn();
    expect(order).toEqual([0, 1]);
    rooms[1]?.answered();
    await turn();
    expect(order).toEqual([0, 1, 2, 3]);
  });

  test("L2 does not grow while it is not full; a slow answer leaves what would have been fast", async () => {
    let now = 0;
    const line = new Line(() => now);
    const before = line.size;
    for (let n = 0; n < 100; n++) {
      const room = await line.enter(1_000);
      now += 10;
      room.answered();
    }
    expect(line.size).toBe(before);
    const { rooms } = await enterAll(line, [15_000, 15_000, 15_000, 15_000]);
    now += 1_600;
    rooms[3]?.answered();
    expect(line.size).toBeGreaterThan(60_000 / 1.6);
    expect(line.size).toBeLessThan(62_000 / 1.6);
    rooms[2]?.failed();
    expect(line.size).toBe(32 * 1_024);
  });

  test("L2 what the other side took for itself is not the line's fault", async () => {
    let now = 0;
    const line = new Line(() => now);
    const before = line.size;
    const { rooms } = await enterAll(line, [30_000, 30_000]);
    now += 4_000;
    rooms[0]?.answered(3_900);
    expect(line.size).toBeGreaterThan(before);
    rooms[1]?.answered(2_000);
    expect(line.size).toBeLessThan(before);
  });

  test("beyond its limit nobody may wait", async () => {
    const line = new Line();
    await line.enter(1_000_000);
    for (let n = 0; n < 1_024; n++) void line.enter(1);
    await expect(line.enter(1)).rejects.toMatchObject({ code: "overloaded" });
  });

  test("is one for everything of a node, each way", () => {
    const lines = new Lines();
    const [a, b] = ["a" as NodeId, "b" as NodeId];
    expect(lines.of(outputOf(a, "t1" as TaskId, 1))).toBe(lines.of(reportFrom(a)));
    expect(lines.of(offersTo(a))).not.toBe(lines.of(offersTo(b)));
  });
});
