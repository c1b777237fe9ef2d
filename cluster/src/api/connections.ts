/**
 * Bounds the open connections, in all and of each address, so that no single machine can hold all of them: whoever never
 * says who it is could otherwise shut everybody out. The loopback is an address like any other. A request on a connection
 * beyond a limit is answered with 429 instead of hanging; only a crowd beyond that again is cut off unheard. Idle
 * connections make room by themselves within Retry-After; to end them at once would also hit those that have just come and
 * not spoken yet, which node counts as idle.
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
  /** Those that are served when they ask, in all and by address; surplus ones count apart, so that they take nobody's place. */
  const served = new Map<string, number>();
  let open = 0;
  const surplus = new Map<Socket, string>();
  const crowds = new Map<string, number>();

  const refusalOf = (address: string): ClusterError | undefined => {
    if (open >= connectionsMax) return full;
    return (served.get(address) ?? 0) >= ofAddressMax ? crowded : undefined;
  };
  const serve = (address: string, by: 1 | -1): void => {
    open += by;
    count(served, address, by);
  };
  const leaveSurplus = (socket: Socket, address: string): boolean => {
    if (!surplus.delete(socket)) return false;
    count(crowds, address, -1);
    return true;
  };

  server.maxConnections = connectionsMax + SURPLUS_MAX;
  // Requests of a TLS server come on its own sockets, not on those that the system has accepted.
  server.on("setSecureContext" in server ? "secureConnection" : "connection", (socket: Socket) => {
    const address = socket.remoteAddress ?? "";
    if (refusalOf(address) === undefined) {
      serve(address, 1);
    } else {
      surplus.set(socket, address);
      if (count(crowds, address, 1) > SURPLUS_OF_ADDRESS_MAX) socket.destroy();
    }
    socket.on("close", () => {
      if (!leaveSurplus(socket, address)) serve(address, -1);
    });
  });
  return {
    refusal({ socket }) {
      const address = surplus.size === 0 ? undefined : surplus.get(socket);
      if (address === undefined) return undefined;
      const refused = refusalOf(address);
      if (refused !== undefined) return refused;
      leaveSurplus(socket, address);
      serve(address, 1);
      return undefined;
    },
  };
}

/** Gives the new count; one of nothing is not kept. */
function count(counts: Map<string, number>, address: string, by: 1 | -1): number {
  const next = (counts.get(address) ?? 0) + by;
  if (next === 0) counts.delete(address);
  else counts.set(address, next);
  return next;
}
