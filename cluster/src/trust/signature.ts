/**
 * Signatures by nkeys, made and checked by the platform's own Ed25519: 40 and 90 µs, where the nkeys library, which is
 * JavaScript, takes 8 and 13 ms.
 */
import { createPrivateKey, createPublicKey, sign, verify, type KeyObject } from "node:crypto";
import { fromPublic, fromSeed } from "@nats-io/nkeys";

/** RFC 8410: what stands before the 32 bytes of a private and of a public key in DER. */
const PRIVATE_DER = Buffer.from("302e020100300506032b657004220420", "hex");
const PUBLIC_DER = Buffer.from("302a300506032b6570032100", "hex");
const KEY_BYTES = 32;
const BASE32 = "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567";

/** Keys that were used last; to decode one takes longer than to check a signature with it. */
const KNOWN_MAX = 256;
const known = new Map<string, KeyObject>();

export type Sign = (words: Uint8Array) => Buffer;
export type Verify = (publicKey: string, words: Uint8Array, signature: Uint8Array) => boolean;

/** `seed`: `SU…`. The signature is 64 bytes. */
export function signer(seed: Uint8Array): Sign {
  // The library checks the seed's check sum, and is the one that knows its form.
  const pair = fromSeed(seed) as unknown as { getRawSeed(): Uint8Array };
  const key = createPrivateKey({ key: Buffer.concat([PRIVATE_DER, pair.getRawSeed()]), format: "der", type: "pkcs8" });
  return (words) => sign(null, words, key);
}

/** `publicKey`: `U…`. False also for what is no key or no signature. */
export function isSignedBy(publicKey: string, words: Uint8Array, signature: Uint8Array): boolean {
  const key = keyOf(publicKey);
  return key !== undefined && verify(null, words, key, signature);
}

function keyOf(publicKey: string): KeyObject | undefined {
  const found = known.get(publicKey);
  if (found !== undefined) return found;
  try {
    fromPublic(publicKey);
  } catch {
    return undefined;
  }
  const key = createPublicKey({ key: Buffer.concat([PUBLIC_DER, rawKey(publicKey)]), format: "der", type: "spki" });
  const [oldest] = known.size < KNOWN_MAX ? [] : known.keys();
  if (oldest !== undefined) known.delete(oldest);
  known.set(publicKey, key);
  return key;
}

/** Of an nkey, which is base32 of a prefix byte, the key, and a check sum. */
function rawKey(publicKey: string): Buffer {
  const bytes: number[] = [];
  let bits = 0;
  let value = 0;
  for (const letter of publicKey) {
    value = ((value << 5) | BASE32.indexOf(letter)) & 0xfff;
    bits += 5;
    if (bits < 8) continue;
    bits -= 8;
    bytes.push((value >> bits) & 0xff);
  }
  return Buffer.from(bytes.slice(1, 1 + KEY_BYTES));
}
