import fc from "fast-check";
import { expect, test } from "vitest";
import { GrowingBytes } from "./growing-bytes.ts";

test("holds what was added, in its order, however it was cut", () => {
  fc.assert(
    fc.property(fc.array(fc.uint8Array({ maxLength: 5_000 })), (pieces) => {
      const bytes = new GrowingBytes();
      for (const [at, piece] of pieces.entries()) {
        const before = bytes.all;
        bytes.add(piece);
        expect(before.equals(Buffer.concat(pieces.slice(0, at)))).toBe(true);
      }
      expect([bytes.length, bytes.all.equals(Buffer.concat(pieces))]).toEqual([Buffer.concat(pieces).length, true]);
    }),
  );
});

test("a million single bytes take little more than a million", () => {
  const bytes = new GrowingBytes();
  const one = Buffer.from("x");
  for (let at = 0; at < 1_000_000; at += 1) bytes.add(one);
  expect(bytes.all.buffer.byteLength).toBeLessThanOrEqual(2_000_000 + 4_096);
});
