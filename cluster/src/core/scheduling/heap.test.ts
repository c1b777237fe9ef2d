import fc from "fast-check";
import { expect, it } from "vitest";
import { before, Heap, OUT, type Ranked } from "./heap.ts";

const anyRank = fc.record({ level: fc.nat(3), tag: fc.nat(3) });
type Step =
  | { kind: "put"; level: number; tag: number }
  | { kind: "move"; pick: number; level: number; tag: number }
  | { kind: "remove"; pick: number };
const anyStep: fc.Arbitrary<Step> = fc.oneof(
  anyRank.map((rank) => ({ kind: "put" as const, ...rank })),
  fc.tuple(anyRank, fc.nat()).map(([rank, pick]) => ({ kind: "move" as const, pick, ...rank })),
  fc.nat().map((pick) => ({ kind: "remove" as const, pick })),
);

it("has the first of what is in it on top, whatever was put, moved and removed", () => {
  fc.assert(
    fc.property(fc.array(anyStep, { maxLength: 100 }), (steps) => {
      const heap = new Heap<Ranked>();
      const inside: Ranked[] = [];
      for (const [key, step] of steps.entries()) {
        const picked = step.kind === "put" ? undefined : inside[step.pick % inside.length];
        if (step.kind === "put") {
          const item = { level: step.level, tag: step.tag, key, at: OUT };
          inside.push(item);
          heap.fix(item);
        } else if (picked !== undefined && step.kind === "move") {
          picked.level = step.level;
          picked.tag = step.tag;
          heap.fix(picked);
        } else if (picked !== undefined) {
          inside.splice(inside.indexOf(picked), 1);
          heap.remove(picked);
          expect(picked.at).toBe(OUT);
        }
        inside.sort((a, b) => (before(a, b) ? -1 : 1));
        expect(heap.top).toBe(inside[0]);
        expect(heap.size).toBe(inside.length);
      }
    }),
  );
});

it("puts the higher level first, then the lower tag, then the older key", () => {
  const rank = (level: number, tag: number, key: number): Ranked => ({ level, tag, key, at: OUT });
  expect(before(rank(5, 9, 9), rank(4, 0, 0))).toBe(true);
  expect(before(rank(4, 1, 9), rank(4, 2, 0))).toBe(true);
  expect(before(rank(4, 1, 1), rank(4, 1, 2))).toBe(true);
  expect(before(rank(4, 1, 2), rank(4, 1, 2))).toBe(false);
});
