/**
 * Which coordinator this node obeys: the one whose key stands in its folder since it joined. Another one that answers at the
 * same address is not obeyed, whatever it says.
 */
import { ClusterError } from "@openclaw-cluster/contract/errors";
import type { ClusterConfig } from "../system/config.ts";
import { readSecret, writePrivateFile, type Folders } from "../system/folders.ts";
import { readNodeKeys } from "../trust/keys.ts";

export const AGAIN = "join with a new code: on the coordinator `openclaw-cluster invite`";

/** A coordinator's own node knows it by the key itself. */
export async function pinned({ roles }: Pick<ClusterConfig, "roles">, folders: Folders): Promise<string> {
  const key = roles.includes("coordinator") ? readNodeKeys(folders.coordinatorSeed)?.publicKey : await readSecret(folders.coordinatorKey);
  if (key !== undefined) return key;
  // Neither that nor a key of its own: `leave` was cut short, after it was told to the cluster and before the settings went.
  if (readNodeKeys(folders.nodeSeed) === undefined)
    throw new ClusterError("node_removed", `${folders.home} holds no key of a node: this machine has left its cluster, or was never in it`);
  throw notPinned(folders.coordinatorKey);
}

export function notPinned(file: string): ClusterError {
  return new ClusterError("forbidden", `this machine does not know its coordinator's key (${file}); ${AGAIN}`);
}

/** From an answer to whoever holds an administrator's token: the first key is taken. Throws forbidden for another one. */
export async function keepPin({ file, url }: { file: string; url: string }, key: string): Promise<string> {
  const kept = await readSecret(file);
  if (kept !== undefined && kept !== key)
    throw new ClusterError(
      "forbidden",
      `at ${url} answers a coordinator with another key than this machine has joined; if it was set up anew, ${AGAIN}`,
    );
  if (kept === undefined) await writePrivateFile(file, `${key}\n`);
  return key;
}
