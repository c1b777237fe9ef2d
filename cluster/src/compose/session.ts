/**
 * What a node's daemon asks its coordinator at the start: may I come in, and where is the bus? The node's own key signs the
 * question; nothing else speaks for it.
 *
 * S1. Who has joined and was not approved yet is told to wait, by an error that passes by itself.
 * S2. Of two keys, where they are being exchanged, the one that is known counts from then on (trust/own-key.ts).
 * S3. Where the cluster does not know the key and somebody has put an administrator's token here, the key is let in with that.
 */
import type { Trust } from "@openclaw-cluster/contract/client/certificate";
import { openClient, type Client } from "@openclaw-cluster/contract/client/client";
import { nodeTransport } from "@openclaw-cluster/contract/client/node-transport";
import { ClusterError } from "@openclaw-cluster/contract/errors";
import type { Session } from "@openclaw-cluster/contract/join";
import type { NodeId } from "@openclaw-cluster/contract/ids";
import { makeSessionRequest } from "../trust/join-proof.ts";
import type { OwnKey } from "../trust/own-key.ts";
import { checkPin } from "./pin.ts";

export interface SessionQuestion {
  readonly node: NodeId;
  readonly keys: OwnKey;
  readonly url: string;
  /** Who may have certified it, where it speaks TLS. */
  readonly trust?: Trust;
  readonly token?: string;
  /** Where the coordinator's key stands (pin.ts). */
  readonly pinFile: string;
}

export interface Admitted {
  readonly cluster: string;
  readonly busUrls: readonly string[];
  readonly coordinatorKey: string;
}

/** Throws node_removed where the node is not known, unavailable while it waits to be approved, and what a call throws. */
export async function askSession({ node, keys, url, trust, token, pinFile }: SessionQuestion, signal?: AbortSignal): Promise<Admitted> {
  const pin = { file: pinFile, url };
  const client = openClient({ url, transport: nodeTransport(trust), ...(token !== undefined && { token }) });
  const options = signal === undefined ? {} : { signal };
  try {
    const session = await knock(client, { node, keys }, options);
    await checkPin(pin, session.coordinatorKey, { proven: token !== undefined });
    if (session.state === "approved") return session;
    throw new ClusterError(
      "unavailable",
      `${node} has joined and waits to be let in; on the coordinator: openclaw-cluster nodes approve ${node}`,
    );
  } catch (error) {
    if (!isRefused(error)) throw error;
    if (token !== undefined) {
      const admitted = await client.enrol({ id: node, publicKey: keys.publicKey }, options);
      await checkPin(pin, admitted.coordinatorKey, { proven: true });
      return admitted;
    }
    throw new ClusterError(
      "node_removed",
      `the cluster knows no node ${node} with this machine's key, or has shut it out; join with a new code: on the coordinator \`openclaw-cluster invite\``,
      { cause: error },
    );
  } finally {
    await client.close();
  }
}

/** S2. Throws unauthorized where none of them is known. */
export function knock(
  client: Client,
  { node, keys }: Pick<SessionQuestion, "node" | "keys">,
  options: { signal?: AbortSignal } = {},
): Promise<Session> {
  return keys.withEach(({ seed }) => client.session({ id: node, ...makeSessionRequest(node, seed) }, options), isRefused);
}

export function isRefused(error: unknown): boolean {
  return error instanceof ClusterError && error.code === "unauthorized";
}
