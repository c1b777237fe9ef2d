/**
 * Which nodes are connected, from the events of the server's system account; they come within milliseconds of a process's
 * death, long before heartbeats are missed. A node may have two connections for a moment, when it came back before the
 * server noticed that the first was dead; only the end of its last one counts.
 */
import type { NodeId } from "@openclaw-cluster/contract/ids";
import { z } from "zod";
import { decodeBody } from "./body.ts";
import type { Subscription } from "./bus.ts";
import { ACCOUNT, type BusNode } from "./nats-config.ts";
import type { Connection } from "./nats-connection.ts";

const ClientEvent = z.object({ client: z.object({ id: z.int(), user: z.string() }) });

export interface Presence {
  onDisconnect(listener: (node: NodeId) => void): Subscription;
}

export function watchDisconnects(system: Connection, nodes: () => readonly BusNode[]): Presence {
  const listeners = new Set<(node: NodeId) => void>();
  /** Open connections by user, the coordinator's own among them. */
  const connections = new Map<string, Set<number>>();
  const watch = (kind: "CONNECT" | "DISCONNECT", seen: (user: string, connection: number) => void): void => {
    const callback = (error: Error | null, message: { data: Uint8Array }): void => {
      const event = error === null ? ClientEvent.safeParse(decodeBody(message.data)) : undefined;
      if (event?.success === true) seen(event.data.client.user, event.data.client.id);
    };
    system.nc.subscribe(`$SYS.ACCOUNT.${ACCOUNT}.${kind}`, { callback });
  };
  watch("CONNECT", (user, connection) => {
    connections.set(user, (connections.get(user) ?? new Set()).add(connection));
  });
  watch("DISCONNECT", (user, connection) => {
    const open = connections.get(user);
    open?.delete(connection);
    if (open !== undefined && open.size > 0) return;
    connections.delete(user);
    const node = nodes().find(({ publicKey }) => publicKey === user)?.id;
    if (node === undefined) return;
    for (const listener of listeners) listener(node);
  });
  // A server that starts again knows none of the connections that it had.
  system.onStatus((connected) => {
    if (!connected) connections.clear();
  });
  return {
    onDisconnect(listener) {
      listeners.add(listener);
      return { stop: () => listeners.delete(listener) };
    },
  };
}
