/**
 * Why nats-server refuses a node's key. A coordinator that is just starting has not let its nodes in yet, and that passes;
 * but a node that an administrator took out of the cluster would knock for ever, and nobody at its machine would know.
 *
 * R1. The coordinator itself is asked, over HTTP: only its own word that it knows no such node counts.
 */
import { openClient } from "@openclaw-cluster/contract/client/client";
import { nodeTransport } from "@openclaw-cluster/contract/client/node-transport";
import { ClusterError } from "@openclaw-cluster/contract/errors";
import type { NodeId } from "@openclaw-cluster/contract/ids";
import type { Log } from "../system/log.ts";

export interface RemovalParts {
  readonly node: NodeId;
  readonly coordinator: { readonly url: string; readonly token: string };
  readonly log: Log;
  removed(error: ClusterError): void;
}

/** To be called at each refusal; they come every few seconds. One question is under way at a time. */
export function askIfRemoved({ node, coordinator, log, removed }: RemovalParts): () => void {
  let asking = false;
  const ask = async (): Promise<void> => {
    const client = openClient({ ...coordinator, transport: nodeTransport() });
    try {
      await client.node({ id: node });
    } catch (error) {
      if (error instanceof ClusterError && error.code === "not_found")
        return removed(new ClusterError("node_removed", `The node ${node} was taken out of the cluster by an administrator.`));
      log.warn({ err: error }, "nats-server refuses this node's key, and the coordinator does not say why; it is asked again");
    } finally {
      await client.close();
      asking = false;
    }
  };
  return () => {
    if (asking) return;
    asking = true;
    void ask();
  };
}
