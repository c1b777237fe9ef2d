import { expect, it } from "vitest";
import { nameHash, rendezvous } from "./hash.ts";

it("is FNV-1a over the name", () => {
  // Test vectors of the authors (draft-eastlake-fnv, 32-bit FNV-1a).
  expect(nameHash("")).toBe(0x811c9dc5);
  expect(nameHash("a")).toBe(0xe40c292c);
  expect(nameHash("foobar")).toBe(0xbf9cf968);
});

it.each([2, 3, 7])("shares tasks evenly between %i equal nodes, also beyond 32 bits", (nodes) => {
  const names = Array.from({ length: nodes }, (_, i) => nameHash(`node${i}`));
  for (const first of [1, 2 ** 33]) {
    const wins = names.map(() => 0);
    for (let key = first; key < first + 7_000; key++) {
      const hashes = names.map((name) => rendezvous(key, name));
      const winner = hashes.indexOf(Math.max(...hashes));
      wins[winner] = (wins[winner] ?? 0) + 1;
    }
    for (const won of wins) expect(Math.abs(won - 7_000 / nodes)).toBeLessThan(7_000 / nodes / 8);
  }
});
