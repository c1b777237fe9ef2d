import { fromPublic, fromSeed } from "@nats-io/nkeys";
import { expect, it } from "vitest";
import { createNodeKeys } from "./keys.ts";
import { isSignedBy, signer } from "./signature.ts";

const WORDS = Buffer.from("who says what to whom");

it("signs as the nkeys library does, and believes what that has signed", () => {
  const { publicKey, seed } = createNodeKeys();
  const signature = signer(seed)(WORDS);
  expect(fromPublic(publicKey).verify(WORDS, signature)).toBe(true);
  expect(isSignedBy(publicKey, WORDS, fromSeed(seed).sign(WORDS))).toBe(true);
});

it("believes no other key, no other words, no other signature, and nothing that is not one", () => {
  const { publicKey, seed } = createNodeKeys();
  const signature = signer(seed)(WORDS);
  expect(isSignedBy(publicKey, WORDS, signature)).toBe(true);
  expect(isSignedBy(createNodeKeys().publicKey, WORDS, signature)).toBe(false);
  expect(isSignedBy(publicKey, Buffer.from("something else"), signature)).toBe(false);
  const bent = Buffer.from(signature);
  bent.writeUInt8(bent.readUInt8(7) ^ 1, 7);
  expect(isSignedBy(publicKey, WORDS, bent)).toBe(false);
  expect(isSignedBy(publicKey, WORDS, signature.subarray(1))).toBe(false);
  for (const none of ["", "U", publicKey.slice(0, -1), `${publicKey.slice(0, -1)}1`, publicKey.toLowerCase()])
    expect(isSignedBy(none, WORDS, signature)).toBe(false);
});
