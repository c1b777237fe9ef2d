import { LIMITS } from "@openclaw-cluster/contract/limits";
import { expect, test } from "vitest";
import { shareOf } from "./nats-shares.ts";

const GIB = 1024 ** 3;

test("every node can keep the largest result and what two attempts print at most, however many there are", () => {
  for (let nodes = 0; nodes <= 4_096; nodes += 1) {
    expect(shareOf(nodes).blobBytes).toBeGreaterThan(LIMITS.resultBytesBlobMax * 1.1);
    expect(shareOf(nodes).outputBytes).toBeGreaterThanOrEqual(2 * LIMITS.outputBytesMax);
  }
});

test("all together stay within what the documents promise", () => {
  const together = (nodes: number): number => nodes * (shareOf(nodes).blobBytes + shareOf(nodes).outputBytes);
  for (let nodes = 1; nodes <= 32; nodes += 1) expect(together(nodes)).toBeLessThanOrEqual(3.5 * GIB);
  for (let nodes = 33; nodes <= 4_096; nodes += 1) expect(together(nodes)).toBeLessThanOrEqual(nodes * 96 * 1024 ** 2);
});

test("a share changes only where the number of nodes passes a power of two", () => {
  const sizes = Array.from({ length: 64 }, (_, at) => shareOf(at + 1).outputBytes);
  expect(sizes.flatMap((size, at) => (at > 0 && size !== sizes[at - 1] ? [at + 1] : []))).toEqual([5, 9, 17, 33]);
});
