import { expect, it } from "vitest";
import { beginLife, isMac, macOf } from "./life.ts";

const WORDS = Buffer.from("who says what to whom");

it("two lives have a key of their own, whichever of them asks", () => {
  const [a, b, c] = [beginLife(), beginLife(), beginLife()];
  const key = a.agree(b.life);
  expect(key).toHaveLength(32);
  expect(b.agree(a.life)).toEqual(key);
  for (const other of [a.agree(c.life), b.agree(c.life)]) expect(other).not.toEqual(key);
});

it("what is no life gives no key", () => {
  const life = beginLife();
  // A point of low order gives the same secret to everybody.
  for (const none of ["", "x", "A".repeat(43), Buffer.alloc(32).toString("base64url")]) expect(life.agree(none)).toBeUndefined();
});

it("a mac is for one key and these words", () => {
  const [a, b] = [beginLife(), beginLife()];
  const [key, other] = [a.agree(b.life), a.agree(beginLife().life)] as [Uint8Array, Uint8Array];
  const mac = macOf(key, WORDS);
  expect(isMac(key, WORDS, mac)).toBe(true);
  expect(isMac(other, WORDS, mac)).toBe(false);
  expect(isMac(key, Buffer.from("other words"), mac)).toBe(false);
  expect(isMac(key, WORDS, mac.subarray(1))).toBe(false);
});
