import { createHash } from "node:crypto";
import { expect, test } from "vitest";
import { createToken, hashToken, tokenId } from "./token.ts";

test("a token has the documented form and carries 256 bits", () => {
  const { id, token } = createToken();
  expect(token).toMatch(/^occ_[a-z2-7]{8}_[A-Za-z0-9_-]{43}$/);
  expect(tokenId(token)).toBe(id);
  expect(Buffer.from(token.slice(13), "base64url")).toHaveLength(32);
});

test("the hash is the SHA-256 of the whole token, and does not contain it", () => {
  const made = createToken();
  expect(made.hash).toBe(createHash("sha256").update(made.token).digest("base64url"));
  expect(hashToken(made.token)).toBe(made.hash);
  expect(made.token).not.toContain(made.hash);
});

test("two tokens differ in id and secret", () => {
  const tokens = Array.from({ length: 200 }, () => createToken());
  expect(new Set(tokens.map(({ id }) => id)).size).toBe(200);
  expect(new Set(tokens.map(({ token }) => token.slice(13))).size).toBe(200);
});

test.each([
  "",
  "occ_",
  "occ_abcdefgh_",
  `occ_ABCDEFGH_${"a".repeat(43)}`,
  `occ_abcdefgh_${"a".repeat(44)}`,
  `occ_abcdefgh_${"a".repeat(42)}=`,
  `xocc_abcdefgh_${"a".repeat(43)}`,
])("%j is not a token", (text) => {
  expect(tokenId(text)).toBeUndefined();
});
