import { describe, expect, it } from "vitest";
import { LINE_BYTES_MAX, newLife, openSeal, seal, type Line, type Matter } from "./envelope.ts";
import { createNodeKeys } from "./keys.ts";
import { isSignedBy, signer } from "./signature.ts";

const keys = createNodeKeys();
const sign = signer(keys.seed);
const [mine, theirs] = [newLife(), newLife()];
const body = Buffer.from('{"n":1}\n{"n":2}');
const message: Line = { kind: "m", life: mine, number: 7, toLife: theirs };
const matter: Matter = { from: "studio", to: "COORDINATOR", about: "ocx.up.studio.report" };
const isBelieved = (bytes: Uint8Array, its: Matter): boolean => openSeal(bytes)?.isSigned(keys.publicKey, its, isSignedBy) ?? false;

describe("a seal", () => {
  it("carries the body as it is, with who speaks and how often", () => {
    const opened = openSeal(seal(message, matter, body, sign));
    expect(opened?.line).toEqual(message);
    expect(Buffer.from(opened?.body ?? [])).toEqual(body);
    expect(opened?.isSigned(keys.publicKey, matter, isSignedBy)).toBe(true);
  });

  it.each<[string, Line]>([
    ["a first word", { kind: "m", life: mine, number: 1, toLife: undefined }],
    ["an answer", { kind: "a", life: mine }],
    ["a challenge", { kind: "c", life: mine }],
    ["the longest line", { kind: "m", life: mine, number: Number.MAX_SAFE_INTEGER, toLife: theirs }],
  ])("is read back: %s", (_name, line) => {
    const bytes = seal(line, matter, Buffer.alloc(0), sign);
    expect(bytes.length).toBeLessThanOrEqual(LINE_BYTES_MAX);
    expect(openSeal(bytes)?.line).toEqual(line);
  });

  it("is of no use for anything else (E1)", () => {
    const bytes = seal(message, matter, body, sign);
    for (const other of [
      { ...matter, from: "nas" },
      { ...matter, to: "nas" },
      { ...matter, about: "ocx.up.studio.heartbeat" },
      { ...matter, about: { life: mine, number: 7 } },
    ])
      expect(isBelieved(bytes, other)).toBe(false);
    expect(openSeal(bytes)?.isSigned(createNodeKeys().publicKey, matter, isSignedBy)).toBe(false);
  });

  it("breaks with every byte of it", () => {
    const bytes = seal(message, matter, body, sign);
    for (let at = 0; at < bytes.length; at += 1) {
      const bent = Buffer.from(bytes);
      bent.writeUInt8(bent.readUInt8(at) ^ 1, at);
      expect(isBelieved(bent, matter)).toBe(false);
    }
  });

  it("is looked for at the beginning only, and nowhere else", () => {
    for (const none of [
      "",
      "\n",
      '{"n":1}',
      `m ${mine} 1 - x\n{}`,
      `m ${mine} 0 - ${"A".repeat(86)}\n{}`,
      `${"m".repeat(LINE_BYTES_MAX)}\n{}`,
    ])
      expect(openSeal(Buffer.from(none))).toBeUndefined();
  });

  it("lives are never the same", () => {
    expect(new Set(Array.from({ length: 1_000 }, newLife)).size).toBe(1_000);
  });
});
