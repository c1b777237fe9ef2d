import { hash } from "node:crypto";
import fc from "fast-check";
import { expect, test } from "vitest";
import { fingerprintOf } from "./fingerprint.ts";
import { createNodeKeys } from "./keys.ts";

const LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567";

test("is the first 100 bits of the SHA-256 in base32, in groups of four", () => {
  fc.assert(
    fc.property(fc.string(), (key) => {
      const bits = Array.from(hash("sha256", `openclaw-cluster key\n${key}`, "buffer"), (byte) => byte.toString(2).padStart(8, "0")).join(
        "",
      );
      const letters = Array.from({ length: 20 }, (_, at) => LETTERS[Number.parseInt(bits.slice(5 * at, 5 * at + 5), 2)]).join("");
      expect(fingerprintOf(key)).toBe((letters.match(/.{4}/g) ?? []).join("-"));
    }),
  );
});

test("is the same for one key and another for another", () => {
  const [one, two] = [createNodeKeys(), createNodeKeys()];
  expect(fingerprintOf(one.publicKey)).toBe(fingerprintOf(one.publicKey));
  expect(fingerprintOf(one.publicKey)).not.toBe(fingerprintOf(two.publicKey));
  expect(fingerprintOf(one.publicKey)).toMatch(/^([A-Z2-7]{4}-){4}[A-Z2-7]{4}$/);
});
