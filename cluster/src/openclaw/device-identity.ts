/**
 * This worker's identity towards the Gateway: an Ed25519 key in a file of its own. With it the Gateway knows a worker
 * that comes back, and lets it stop the runs of its earlier connections; without it, it answers `unauthorized`.
 *
 * I1. The private key is never logged or sent; only signatures over the Gateway's challenge leave this file.
 * I2. The file appears whole or not at all, readable by its owner only.
 */
import { createHash, createPrivateKey, createPublicKey, generateKeyPairSync, randomUUID, sign, type KeyObject } from "node:crypto";
import { linkSync, mkdirSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { dirname } from "node:path";
import { ClusterError } from "@openclaw-cluster/contract/errors";
import { isOpenToOthers } from "../system/private-mode.ts";

export interface DeviceIdentity {
  /** SHA-256 of the raw public key, in hex: the Gateway's own rule. */
  readonly deviceId: string;
  readonly publicKeyPem: string;
  readonly privateKeyPem: string;
}

/** The identity in the file; makes one at the first call. */
export function loadDeviceIdentity(file: string): DeviceIdentity {
  return read(file) ?? write(file);
}

export function signDevicePayload(privateKeyPem: string, payload: string): string {
  return sign(null, Buffer.from(payload), createPrivateKey(privateKeyPem)).toString("base64url");
}

export function rawPublicKey(publicKeyPem: string): string {
  return raw(createPublicKey(publicKeyPem)).toString("base64url");
}

function read(file: string): DeviceIdentity | undefined {
  let text: string;
  try {
    text = readFileSync(file, "utf8");
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "ENOENT") return undefined;
    throw new ClusterError("config_invalid", `the identity file ${file} cannot be read`, { cause: error });
  }
  if (isOpenToOthers(statSync(file).mode)) {
    throw new ClusterError("config_invalid", `the identity file ${file} is open to other users; run: chmod 600 ${file}`);
  }
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

function write(file: string): DeviceIdentity {
  const identity = identityOf(generateKeyPairSync("ed25519").privateKey);
  mkdirSync(dirname(file), { recursive: true, mode: 0o700 });
  const draft = `${file}.${randomUUID()}`;
  try {
    writeFileSync(draft, `${JSON.stringify({ privateKey: identity.privateKeyPem })}\n`, { mode: 0o600, flag: "wx", flush: true });
    // Unlike a rename, a link does not replace the file of somebody who was faster.
    linkSync(draft, file);
    return identity;
  } catch (error) {
    const theirs = (error as NodeJS.ErrnoException).code === "EEXIST" ? read(file) : undefined;
    if (theirs === undefined) throw new ClusterError("config_invalid", `the identity file ${file} cannot be written`, { cause: error });
    return theirs;
  } finally {
    rmSync(draft, { force: true });
  }
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
