/**
 * Bounds the open connections, in all and of each address, so that no single machine can hold all of them: whoever never
 * says who it is could otherwise shut everybody out. The loopback is an address like any other. A request on a connection
 * beyond a limit is answered with 429 instead of hanging; only a crowd beyond that again is cut off unheard. Idle
 * connections make room by themselves within Retry-After; to end them at once would also hit those that have just come and
 * not spoken yet, which node counts as idle.
 *
 * C1. A connection counts from the moment in which the system has accepted it, also where TLS is spoken: those that never
 *     shake hands would otherwise fill `maxConnections`, which knows no addresses, and nobody else would be accepted.
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

/** A connection that is open. */
interface Held {
  readonly address: string;
  readonly ends: string;
  isSurplus: boolean;
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
  /** By both ends of the connection: requests of a TLS server come on its own sockets, not on those that are counted. */
  const surplus = new Map<string, Held>();
  const crowds = new Map<string, number>();

  const refusalOf = (address: string): ClusterError | undefined => {
    if (open >= connectionsMax) return full;
    return (served.get(address) ?? 0) >= ofAddressMax ? crowded : undefined;
  };
  const serve = (address: string, by: 1 | -1): void => {
    open += by;
    count(served, address, by);
  };
  const leaveSurplus = (held: Held): void => {
    held.isSurplus = false;
    if (surplus.get(held.ends) === held) surplus.delete(held.ends);
    count(crowds, held.address, -1);
  };

  server.maxConnections = connectionsMax + SURPLUS_MAX;
  // C1: not `secureConnection`.
  server.on("connection", (socket: Socket) => {
    const address = socket.remoteAddress ?? "";
    const held: Held = { address, ends: endsOf(socket), isSurplus: refusalOf(address) !== undefined };
    if (held.isSurplus) {
      surplus.set(held.ends, held);
      if (count(crowds, address, 1) > SURPLUS_OF_ADDRESS_MAX) socket.destroy();
    } else {
      serve(address, 1);
    }
    socket.on("close", () => {
      if (held.isSurplus) leaveSurplus(held);
      else serve(address, -1);
    });
  });
  return {
    refusal({ socket }) {
      const held = surplus.size === 0 ? undefined : surplus.get(endsOf(socket));
      if (held === undefined) return undefined;
      const refused = refusalOf(held.address);
      if (refused !== undefined) return refused;
      leaveSurplus(held);
      serve(held.address, 1);
      return undefined;
    },
  };
}

/** No two open connections have the same; one that was cut in its first moment has none that could be told. */
function endsOf({ remoteAddress, remotePort, localAddress, localPort }: Socket): string {
  return `${remoteAddress} ${remotePort} ${localAddress} ${localPort}`;
}

/** Gives the new count; one of nothing is not kept. */
function count(counts: Map<string, number>, address: string, by: 1 | -1): number {
  const next = (counts.get(address) ?? 0) + by;
  if (next === 0) counts.delete(address);
  else counts.set(address, next);
  return next;
}
