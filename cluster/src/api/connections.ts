/**
 * Bounds the open connections, in all and of each address, so that no single machine can hold all of them: whoever never
 * says who it is could otherwise shut everybody out. A request on one beyond a limit is answered with 429 instead of hanging;
 * only a crowd beyond that again is cut off unheard. The loopback is an address like any other. Idle connections make room by themselves within Retry-After; to end them at once
 * would also hit those that have just come and not spoken yet, which node counts as idle.
 */
import type { IncomingMessage, Server } from "node:http";
import type { Socket } from "node:net";
import { ClusterError } from "@openclaw-cluster/contract/errors";

/** Connections held beyond the limit, each for one answer. */
const SURPLUS_MAX = 128;
const SURPLUS_OF_ADDRESS_MAX = 32;

interface Limits {
  readonly connectionsMax: number;
  readonly ofAddressMax: number;
  /** After it an idle connection is closed. */
  readonly idleMs: number;
}

export interface Surplus {
  /** Why a request on this connection is not served. */
  refusal(incoming: IncomingMessage): ClusterError | undefined;
}

export function watchConnections(server: Server, { connectionsMax, ofAddressMax, idleMs }: Limits): Surplus {
  const full = new ClusterError("overloaded", `${connectionsMax} connections are open.`, { retryAfterMs: idleMs });
  const crowded = new ClusterError("overloaded", `${ofAddressMax} connections of this address are open.`, { retryAfterMs: idleMs });
  const surplus = new Map<Socket, string>();
  const byAddress = new Map<string, number>();
  let open = 0;
  server.maxConnections = connectionsMax + SURPLUS_MAX;
  server.on("connection", (socket) => {
    const address = socket.remoteAddress ?? "";
    const ofAddress = (byAddress.get(address) ?? 0) + 1;
    byAddress.set(address, ofAddress);
    open += 1;
    if (open > connectionsMax || ofAddress > ofAddressMax) surplus.set(socket, address);
    socket.on("close", () => {
      const rest = (byAddress.get(address) ?? 1) - 1;
      if (rest === 0) byAddress.delete(address);
      else byAddress.set(address, rest);
      open -= 1;
      surplus.delete(socket);
    });
    if (ofAddress > ofAddressMax + SURPLUS_OF_ADDRESS_MAX) socket.destroy();
  });
  return {
    refusal({ socket }) {
      const address = surplus.size === 0 ? undefined : surplus.get(socket);
      if (address === undefined) return undefined;
      if (open > connectionsMax) return full;
      if ((byAddress.get(address) ?? 0) > ofAddressMax) return crowded;
      surplus.delete(socket);
      return undefined;
    },
  };
}
