/**
 * Bounds the open connections. A request on one beyond the limit is answered with 429 instead of hanging; only a crowd
 * beyond that again is cut off unheard. Idle connections make room by themselves within Retry-After; to end them at once
 * would also hit those that have just come and not spoken yet, which node counts as idle.
 */
import type { IncomingMessage, Server } from "node:http";
import type { Socket } from "node:net";
import { ClusterError } from "@openclaw-cluster/contract/errors";

/** Connections held beyond the limit, each for one answer. */
const SURPLUS_MAX = 128;

export interface Surplus {
  /** Why a request on this connection is not served. */
  refusal(incoming: IncomingMessage): ClusterError | undefined;
}

/** `idleMs`: after it an idle connection is closed. */
export function watchConnections(server: Server, { connectionsMax, idleMs }: { connectionsMax: number; idleMs: number }): Surplus {
  const full = new ClusterError("overloaded", `${connectionsMax} connections are open.`, { retryAfterMs: idleMs });
  const surplus = new Set<Socket>();
  let open = 0;
  server.maxConnections = connectionsMax + SURPLUS_MAX;
  // Requests of a TLS server come on its own sockets, not on those that the system has accepted.
  server.on("setSecureContext" in server ? "secureConnection" : "connection", (socket: Socket) => {
    open += 1;
    if (open > connectionsMax) surplus.add(socket);
    socket.on("close", () => {
      open -= 1;
      surplus.delete(socket);
    });
  });
  return {
    refusal({ socket }) {
      if (surplus.size === 0 || !surplus.has(socket)) return undefined;
      if (open > connectionsMax) return full;
      surplus.delete(socket);
      return undefined;
    },
  };
}
