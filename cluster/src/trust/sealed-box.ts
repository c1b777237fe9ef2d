/**
 * A text for one reader, over a way on which others can read: X25519 for a key of this box alone, HKDF-SHA-256, AES-256-GCM. The
 * construction is ECIES as in RFC 9180's base mode, with the standard library's parts; HPKE itself has no implementation in Node.
 *
 * X1. It says nothing of who wrote it: who reads it must know that by other means (the bus's seals).
 * X2. Both public keys and the purpose are part of the key, so that a box opens only as what it was made for, and for whom.
 */
import {
  createCipheriv,
  createDecipheriv,
  createPublicKey,
  diffieHellman,
  generateKeyPairSync,
  hkdfSync,
  randomBytes,
  type KeyObject,
} from "node:crypto";
import { ClusterError } from "@openclaw-cluster/contract/errors";
import type { SealedBox } from "@openclaw-cluster/contract/wire";

/** Made for one box; its private half never leaves the process. */
export interface Reader {
  readonly key: string;
  /** Throws bad_request where the box is not whole, or not for this reader and purpose. */
  open(sealed: SealedBox, purpose: string): string;
}

/** The purpose of what a new control node is told. */
export const HANDOVER = "handover to a control node";

const NONCE_BYTES = 12;
const TAG_BYTES = 16;
const KEY_BYTES = 32;

export function createReader(): Reader {
  const { privateKey, publicKey } = generateKeyPairSync("x25519");
  const key = textOf(publicKey);
  return {
    key,
    open(sealed, purpose) {
      try {
        const secret = diffieHellman({ privateKey, publicKey: keyOf(sealed.key) });
        const all = Buffer.from(sealed.box, "base64url");
        const nonce = Buffer.from(sealed.nonce, "base64url");
        const cipher = createDecipheriv("aes-256-gcm", boxKey(secret, [sealed.key, key, purpose]), nonce);
        cipher.setAuthTag(all.subarray(-TAG_BYTES));
        return Buffer.concat([cipher.update(all.subarray(0, -TAG_BYTES)), cipher.final()]).toString();
      } catch {
        // The cause is left out on purpose: it could tell of what was in it.
        throw new ClusterError("bad_request", "a sealed text is not for this reader, or not whole");
      }
    },
  };
}

export function seal(text: string, reader: string, purpose: string): SealedBox {
  const { privateKey, publicKey } = generateKeyPairSync("x25519");
  const key = textOf(publicKey);
  const nonce = randomBytes(NONCE_BYTES);
  const secret = diffieHellman({ privateKey, publicKey: keyOf(reader) });
  const cipher = createCipheriv("aes-256-gcm", boxKey(secret, [key, reader, purpose]), nonce);
  const box = Buffer.concat([cipher.update(text, "utf8"), cipher.final(), cipher.getAuthTag()]);
  return { key, nonce: nonce.toString("base64url"), box: box.toString("base64url") };
}

function boxKey(secret: Buffer, words: readonly string[]): Uint8Array {
  return new Uint8Array(hkdfSync("sha256", secret, "", JSON.stringify(["openclaw-cluster sealed box", ...words]), KEY_BYTES));
}

const textOf = (key: KeyObject): string => key.export({ type: "spki", format: "der" }).toString("base64url");

function keyOf(text: string): KeyObject {
  try {
    return createPublicKey({ key: Buffer.from(text, "base64url"), type: "spki", format: "der" });
  } catch {
    throw new ClusterError("bad_request", "this is no key to seal a text for");
  }
}
