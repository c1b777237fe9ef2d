import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { BATCH_EVERY, ModelQueue, QUEUE_LENGTH_MAX, type Lane, type Waiting } from "./model-queue.ts";

let made = 0;
const request = (user: string, lane: Lane = "interactive", workMs = 1_000): Waiting => ({ id: `r${++made}`, user, lane, workMs });

function queue(slots: number, ...waiting: readonly Waiting[]): ModelQueue {
  const it = new ModelQueue(slots);
  for (const one of waiting) it.enqueue(one, 0);
  return it;
}

/** Takes one after another, each ended at once. */
function drain(line: ModelQueue): Waiting[] {
  const taken: Waiting[] = [];
  for (let next = line.take(0); next !== undefined; next = line.take(0)) {
    taken.push(next);
    line.remove(next.id);
  }
  return taken;
}

describe("a line", () => {
  it("gives no more than its slots, and the next when one is free", () => {
    const [a, b] = [request("u"), request("u")];
    const line = queue(1, a, b);
    expect(line.take(0)).toBe(a);
    expect(line.take(0)).toBeUndefined();
    expect([line.inFlight, line.queued, line.inFlightMs(400), line.inFlightMs(9_000), line.ahead().workMs]).toEqual([1, 1, 600, 0, 1_000]);
    expect(line.remove(a.id)).toBe(true);
    expect(line.remove(a.id)).toBe(false);
    expect(line.take(0)).toBe(b);
  });

  it("forgets who gives up while waiting", () => {
    const [a, b] = [request("u"), request("u")];
    const line = queue(1, a, b);
    expect(line.position(b.id)).toBe(2);
    expect(line.remove(a.id)).toBe(true);
    expect([line.position(a.id), line.position(b.id)]).toEqual([undefined, 1]);
  });

  it("takes users in turns, however many one of them sends", () => {
    const line = queue(1, ...Array.from({ length: 6 }, () => request("greedy")), request("modest"), request("modest"));
    expect(
      drain(line)
        .map(({ user }) => user[0])
        .join(""),
    ).toBe("gmgmgggg");
  });

  it("takes batches last, but for one turn in so many (Q2)", () => {
    const line = new ModelQueue(1);
    for (let i = 0; i < 20; i++) for (const lane of ["batch", "interactive"] as const) line.enqueue(request(`u${i % 4}`, lane), 0);
    const lanes = drain(line).map(({ lane }) => lane);
    expect(lanes.indexOf("batch")).toBe(BATCH_EVERY - 1);
    expect(lanes.slice(0, 16).filter((lane) => lane === "batch")).toHaveLength(2);
  });

  it("is bounded, for one user more than for all", () => {
    const line = new ModelQueue(1);
    const kinds = (user: string, count: number) => Array.from({ length: count }, () => line.enqueue(request(user), 0).kind);
    expect(kinds("greedy", QUEUE_LENGTH_MAX).filter((kind) => kind === "queued")).toHaveLength(QUEUE_LENGTH_MAX / 2);
    expect(line.enqueue(request("modest"), 0)).toEqual({ kind: "queued", position: 2 });
    kinds("modest", QUEUE_LENGTH_MAX);
    expect(line.enqueue(request("third"), 0)).toMatchObject({ kind: "refused", reason: "overloaded", retryAfterMs: 1_000 });
  });
});

const anyStep = fc.oneof(
  {
    weight: 3,
    arbitrary: fc.record({
      kind: fc.constant("enqueue" as const),
      user: fc.constantFrom("a", "b", "c"),
      lane: fc.constantFrom<Lane>("interactive", "batch"),
      workMs: fc.integer({ min: 0, max: 5_000 }),
    }),
  },
  { weight: 2, arbitrary: fc.record({ kind: fc.constant("take" as const) }) },
  { weight: 2, arbitrary: fc.record({ kind: fc.constant("remove" as const), pick: fc.nat() }) },
);

it("keeps its limits, loses nothing and gives nothing twice (Q1, Q4)", () => {
  fc.assert(
    fc.property(fc.integer({ min: 1, max: 3 }), fc.array(anyStep, { maxLength: 80 }), (slots, steps) => {
      const line = new ModelQueue(slots, 8);
      const here = new Map<string, Waiting>();
      const waiting: Waiting[] = [];
      const working = new Set<string>();
      for (const step of steps) {
        if (step.kind === "enqueue") {
          const one = request(step.user, step.lane, step.workMs);
          const answer = line.enqueue(one, 0);
          if (answer.kind === "queued") {
            here.set(one.id, one);
            waiting.push(one);
            expect(answer.position).toBeLessThanOrEqual(waiting.length);
          } else expect(answer.retryAfterMs).toBeGreaterThan(0);
        } else if (step.kind === "take") {
          const head = waiting.find(({ id }) => line.position(id) === 1);
          const taken = line.take(0);
          expect(taken === undefined).toBe(working.size >= slots || waiting.length === 0);
          if (taken === undefined) continue;
          expect(taken).toBe(head);
          expect(waiting.find(({ user, lane }) => user === taken.user && lane === taken.lane)).toBe(taken);
          waiting.splice(waiting.indexOf(taken), 1);
          working.add(taken.id);
        } else if (here.size > 0) {
          const id = [...here.keys()][step.pick % here.size] as string;
          expect(line.remove(id)).toBe(true);
          here.delete(id);
          working.delete(id);
          const at = waiting.findIndex((one) => one.id === id);
          if (at >= 0) waiting.splice(at, 1);
        }
        expect(line.inFlight).toBe(working.size);
        expect(line.queued).toBe(waiting.length);
        expect(line.inFlight).toBeLessThanOrEqual(slots);
        expect(line.queued).toBeLessThanOrEqual(8);
      }
    }),
  );
});

it("is fair between users that wait all along, within their largest requests (Q3)", () => {
  const works = fc.array(fc.integer({ min: 1, max: 5_000 }), { minLength: 5, maxLength: 20 });
  fc.assert(
    fc.property(works, works, (a, b) => {
      const line = new ModelQueue(1);
      for (const workMs of a) line.enqueue(request("a", "interactive", workMs), 0);
      for (const workMs of b) line.enqueue(request("b", "interactive", workMs), 0);
      const left = { a: a.length, b: b.length };
      const begun = { a: 0, b: 0 };
      for (const { user, workMs } of drain(line)) {
        begun[user as "a"] += workMs;
        left[user as "a"]--;
        if (left.a === 0 || left.b === 0) break;
        expect(Math.abs(begun.a - begun.b)).toBeLessThanOrEqual(Math.max(...a) + Math.max(...b));
      }
    }),
  );
});
