/**
 * Key pairs of nodes: Ed25519, in the nkey form that nats-server checks at each connection. The public key, `U…`, is what
 * the cluster knows of a node; the seed, `SU…`, stays in one file on the node.
 *
 * K1. The seed is never logged, sent, or put into an error.
 * K2. The file appears whole or not at all, readable by its owner only; of two processes that create it at once, both
 *     end up with the same key.
 * K3. Nobody is told of a key that a power cut could take away: the coordinator keeps it, and would refuse another one.
 */
import { randomUUID } from "node:crypto";
import { closeSync, fsyncSync, openSync, readFileSync, statSync } from "node:fs";
import { link, mkdir, open, rm } from "node:fs/promises";
import { dirname } from "node:path";
import { createUser, fromSeed } from "@nats-io/nkeys";
import { ClusterError } from "@openclaw-cluster/contract/errors";
import { isOpenToOthers } from "../system/private-mode.ts";

export interface NodeKeys {
  readonly publicKey: string;
  readonly seed: Uint8Array;
}

/** A fresh pair, kept nowhere. */
export function createNodeKeys(): NodeKeys {
  const pair = createUser();
  return { publicKey: pair.getPublicKey(), seed: pair.getSeed() };
}

/** The pair in the file; makes one at the first call. */
export async function loadNodeKeys(file: string): Promise<NodeKeys> {
  const keys = readNodeKeys(file) ?? (await writeKeys(file));
  syncFolder(dirname(file));
  return keys;
}

/** A new name lasts when its folder is synced. Windows has no such call, and needs none. */
export function syncFolder(folder: string): void {
  if (process.platform === "win32") return;
  const handle = openSync(folder, "r");
  try {
    fsyncSync(handle);
  } finally {
    closeSync(handle);
  }
}

/** In one go, because a connection asks for its key in the midst of a handshake. undefined: there is no such file. */
export function readNodeKeys(file: string): NodeKeys | undefined {
  let text: string;
  let mode: number;
  try {
    text = readFileSync(file, "utf8").trim();
    ({ mode } = statSync(file));
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "ENOENT") return undefined;
    throw new ClusterError("config_invalid", `the key file ${file} cannot be read`, { cause: error });
  }
  if (isOpenToOthers(mode)) {
    throw new ClusterError("config_invalid", `the key file ${file} is open to other users; run: chmod 600 ${file}`);
  }
  const seed = new TextEncoder().encode(text);
  try {
    const publicKey = fromSeed(seed).getPublicKey();
    if (!publicKey.startsWith("U")) throw new Error("not a user's seed");
    return { publicKey, seed };
  } catch {
    // The cause is left out on purpose: nothing that was read from this file may travel on.
    throw new ClusterError("config_invalid", `the key file ${file} does not hold a node's seed (SU…)`);
  }
}

async function writeKeys(file: string): Promise<NodeKeys> {
  const keys = createNodeKeys();
  await mkdir(dirname(file), { recursive: true, mode: 0o700 });
  const draft = `${file}.${randomUUID()}`;
  try {
    await using handle = await open(draft, "wx", 0o600);
    await handle.writeFile(keys.seed);
    await handle.sync();
    // Unlike a rename, a link does not replace the file of somebody who was faster.
    await link(draft, file);
    return keys;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== "EEXIST") throw error;
    const theirs = readNodeKeys(file);
    if (theirs === undefined) throw error;
    return theirs;
  } finally {
    await rm(draft, { force: true });
  }
}
