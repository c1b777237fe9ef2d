/**
 * This worker's identity towards the Gateway: an Ed25519 key in a file of its own. With it the Gateway knows a worker
 * that comes back, and lets it stop the runs of its earlier connections; without it, it answers `unauthorized`.
 *
 * I1. The private key is never logged or sent; only signatures over the Gateway's challenge leave this file.
 * I2. Its file is one of those of system/key-file.ts.
 */
import { createHash, createPrivateKey, createPublicKey, generateKeyPairSync, sign, type KeyObject } from "node:crypto";
import { ClusterError } from "@openclaw-cluster/contract/errors";
import { loadKeyFile, readKeyFile } from "../system/key-file.ts";

export interface DeviceIdentity {
  /** SHA-256 of the raw public key, in hex: the Gateway's own rule. */
  readonly deviceId: string;
  readonly publicKeyPem: string;
  readonly privateKeyPem: string;
}

/** The identity in the file; makes one at the first call. */
export function loadDeviceIdentity(file: string): DeviceIdentity {
  return loadKeyFile(file, read, make);
}

export function signDevicePayload(privateKeyPem: string, payload: string): string {
  return sign(null, Buffer.from(payload), createPrivateKey(privateKeyPem)).toString("base64url");
}

export function rawPublicKey(publicKeyPem: string): string {
  return raw(createPublicKey(publicKeyPem)).toString("base64url");
}

function read(file: string): DeviceIdentity | undefined {
  const text = readKeyFile(file, "identity file");
  if (text === undefined) return undefined;
  try {
    const { privateKey } = JSON.parse(text) as { privateKey: string };
    const key = createPrivateKey(privateKey);
    if (key.asymmetricKeyType !== "ed25519") throw new Error("another kind of key");
    return identityOf(key);
  } catch {
    // The cause is left out on purpose: nothing that was read from this file may travel on (I1).
    throw new ClusterError("config_invalid", `the identity file ${file} holds no Ed25519 key; delete it to get a new one`);
  }
}

function make(): string {
  const { privateKeyPem } = identityOf(generateKeyPairSync("ed25519").privateKey);
  return `${JSON.stringify({ privateKey: privateKeyPem })}\n`;
}

function identityOf(privateKey: KeyObject): DeviceIdentity {
  const publicKey = createPublicKey(privateKey);
  return {
    deviceId: createHash("sha256").update(raw(publicKey)).digest("hex"),
    publicKeyPem: publicKey.export({ type: "spki", format: "pem" }) as string,
    privateKeyPem: privateKey.export({ type: "pkcs8", format: "pem" }) as string,
  };
}

/** The 32 bytes at the end of the key's standard encoding. */
function raw(publicKey: KeyObject): Buffer {
  return publicKey.export({ type: "spki", format: "der" }).subarray(-32);
}
