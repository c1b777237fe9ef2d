/**
 * Key pairs of nodes: Ed25519, in the nkey form that nats-server checks at each connection. The public key, `U…`, is what
 * the cluster knows of a node; the seed, `SU…`, stays in one file on the node.
 *
 * K1. The seed is never logged, sent, or put into an error.
 * K2. What is promised of its file is promised of all such files: system/key-file.ts (K1-K3 there).
 */
import { createUser, fromSeed } from "@nats-io/nkeys";
import { ClusterError } from "@openclaw-cluster/contract/errors";
import { loadKeyFile, readKeyFile } from "../system/key-file.ts";

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
  return loadKeyFile(file, readNodeKeys, () => createNodeKeys().seed);
}

/** In one go, because a connection asks for its key in the midst of a handshake. undefined: there is no such file. */
export function readNodeKeys(file: string): NodeKeys | undefined {
  const text = readKeyFile(file, "key file");
  if (text === undefined) return undefined;
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
