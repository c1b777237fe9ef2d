import { describe, expect, it } from "vitest";
import { LINE_BYTES_MAX, openSeal, seal, type Line, type Matter } from "./envelope.ts";
import { createNodeKeys } from "./keys.ts";
import { beginLife, isMac, macOf } from "./life.ts";
import { isSignedBy, signer } from "./signature.ts";

const keys = createNodeKeys();
const [mine, theirs] = [beginLife(), beginLife()];
const shared = mine.agree(theirs.life) as Uint8Array;
const body = Buffer.from('{"n":1}\n{"n":2}');
const matter: Matter = { from: "studio", to: "COORDINATOR", about: "ocx.up.studio.report" };
const WAYS = {
  signed: { prove: signer(keys.seed), check: (words: Uint8Array, proof: Uint8Array) => isSignedBy(keys.publicKey, words, proof) },
  vouched: {
    prove: (words: Uint8Array) => macOf(shared, words),
    check: (words: Uint8Array, proof: Uint8Array) => isMac(shared, words, proof),
  },
};
const stamp = { life: mine.life, number: 7, toLife: theirs.life };
const LINES: readonly (readonly [string, Line, keyof typeof WAYS])[] = [
  ["a first word", { kind: "h", ...stamp, number: 1, toLife: undefined }, "signed"],
  ["a signed message, with the longest line there is", { kind: "h", ...stamp, number: Number.MAX_SAFE_INTEGER }, "signed"],
  ["a message", { kind: "m", ...stamp }, "vouched"],
  ["an answer", { kind: "a", life: mine.life }, "vouched"],
  ["a challenge", { kind: "c", life: mine.life }, "signed"],
];

describe.each(LINES)("%s", (_name, line, way) => {
  const { prove, check } = WAYS[way];
  const bytes = seal(line, matter, body, prove);
  const isBelieved = (its: Uint8Array, about: Matter = matter): boolean => openSeal(its)?.isProven(about, check) ?? false;

  it("carries the body as it is, with who speaks", () => {
    const opened = openSeal(bytes);
    expect(opened?.line).toEqual(line);
    expect(Buffer.from(opened?.body ?? [])).toEqual(body);
    expect(isBelieved(bytes)).toBe(true);
    expect(bytes.length - body.length).toBeLessThanOrEqual(LINE_BYTES_MAX);
  });

  it("is of no use for anything else (E1)", () => {
    for (const other of [
      { ...matter, from: "nas" },
      { ...matter, to: "nas" },
      { ...matter, about: "ocx.up.studio.heartbeat" },
      { ...matter, about: { life: mine.life, number: 7 } },
    ])
      expect(isBelieved(bytes, other)).toBe(false);
  });

  it("breaks with every byte of it", () => {
    for (let at = 0; at < bytes.length; at += 1) {
      const bent = Buffer.from(bytes);
      bent.writeUInt8(bent.readUInt8(at) ^ 1, at);
      expect(isBelieved(bent)).toBe(false);
    }
  });
});

it("is looked for at the beginning only, and nowhere else", () => {
  const { life } = mine;
  const proof = "A".repeat(86);
  for (const none of [
    "",
    "\n",
    '{"n":1}',
    `h ${life} 1 - x\n{}`,
    `h ${life} 0 - ${proof}\n{}`,
    `m ${life} 1 - ${proof}\n{}`,
    `${"m".repeat(LINE_BYTES_MAX)}\n{}`,
  ])
    expect(openSeal(Buffer.from(none))).toBeUndefined();
});
