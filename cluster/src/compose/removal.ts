/**
 * Why nats-server refuses a node's key. A coordinator that is just starting has not let its nodes in yet, and that passes;
 * but a node that an administrator took out of the cluster would knock for ever, and nobody at its machine would know.
 *
 * R1. The coordinator itself is asked, over HTTP: only its own word that it knows no such node counts, signed by its key (session.ts).
 */
import { ClusterError } from "@openclaw-cluster/contract/errors";
import type { Log } from "../system/log.ts";
import { askSession, type SessionQuestion } from "./session.ts";

export interface RemovalParts {
  question(): Promise<SessionQuestion>;
  readonly log: Log;
  removed(error: ClusterError): void;
}

/** To be called at each refusal; they come every few seconds. One question is under way at a time. */
export function askIfRemoved({ question, log, removed }: RemovalParts): () => void {
  let asking = false;
  const ask = async (): Promise<void> => {
    const { token: _token, ...asked } = await question();
    try {
      await askSession(asked);
    } catch (error) {
      if (error instanceof ClusterError && error.code === "node_removed")
        return removed(
          new ClusterError("node_removed", `The node ${asked.node} was taken out of the cluster or shut out by an administrator.`),
        );
      log.warn({ err: error }, "nats-server refuses this node's key, and the coordinator does not say why; it is asked again");
    } finally {
      asking = false;
    }
  };
  return () => {
    if (asking) return;
    asking = true;
    void ask();
  };
}
