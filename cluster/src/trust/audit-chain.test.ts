import type { AuditEntry } from "@openclaw-cluster/contract/audit";
import fc from "fast-check";
import { expect, test } from "vitest";
import { chained, EMPTY_CHAIN, follow } from "./audit-chain.ts";

const said = fc.record({
  at: fc.nat(),
  actor: fc.string({ maxLength: 20 }),
  action: fc.constantFrom("token.made", "node.joined", "node.revoked"),
  object: fc.string({ maxLength: 20 }),
}) as fc.Arbitrary<Omit<AuditEntry, "seq" | "hash">>;

function chainOf(all: readonly Omit<AuditEntry, "seq" | "hash">[]): AuditEntry[] {
  const entries: AuditEntry[] = [];
  for (const one of all) entries.push(chained(entries.at(-1) ?? EMPTY_CHAIN, one));
  return entries;
}

test("a chain follows from its beginning, in one go or in pages", () => {
  fc.assert(
    fc.property(fc.array(said, { maxLength: 20 }), fc.nat(20), (all, at) => {
      const entries = chainOf(all);
      const whole = follow(EMPTY_CHAIN, entries);
      expect(whole).toEqual({ head: { seq: all.length, hash: entries.at(-1)?.hash ?? "" } });
      expect(follow(follow(EMPTY_CHAIN, entries.slice(0, at)).head, entries.slice(at))).toEqual(whole);
    }),
  );
});

test("whatever is changed, taken out, put in or moved is found, at its place or right after it", () => {
  fc.assert(
    fc.property(
      fc.array(said, { minLength: 2, maxLength: 10 }),
      fc.nat(),
      fc.constantFrom("change", "remove", "double", "swap"),
      (all, pick, how) => {
        const entries = chainOf(all);
        // The last one can go without a trace in the chain itself: that is what a noted hash is for.
        const at = pick % (entries.length - 1);
        const [one, two] = [entries[at], entries[at + 1]] as [AuditEntry, AuditEntry];
        const broken = {
          change: [...entries.slice(0, at), { ...one, actor: `${one.actor}!` }, ...entries.slice(at + 1)],
          remove: [...entries.slice(0, at), ...entries.slice(at + 1)],
          double: [...entries.slice(0, at + 1), ...entries.slice(at)],
          swap: [...entries.slice(0, at), two, one, ...entries.slice(at + 2)],
        }[how];
        expect(follow(EMPTY_CHAIN, broken).broken).toBe(how === "double" ? at + 2 : at + 1);
      },
    ),
  );
});
