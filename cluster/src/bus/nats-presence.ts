/**
 * Which nodes are connected, from the events of the server's system account; they come within milliseconds of a process's
 * death, long before heartbeats are missed. A node may have two connections for a moment, when it came back before the
 * server noticed that the first was dead; only the end of its last one counts.
 *
 * P1. Only a connection that the other side closed is told: that is what a process's end looks like. One that the server
 *     gave up because it heard nothing says less than the heartbeats do, and its node may still be at work.
 * P2. One that the server ended because of what came over it is told as a trespass: no program of ours sends that.
 */
import type { NodeId } from "@openclaw-cluster/contract/ids";
import { z } from "zod";
import { decodeBody } from "./body.ts";
import type { Subscription } from "./bus.ts";
import { ACCOUNT, type BusNode } from "./nats-config.ts";
import type { Connection } from "./nats-connection.ts";

const ClientEvent = z.object({ client: z.object({ id: z.int(), user: z.string() }), reason: z.string().optional() });
/** nats-server's words (server/client.go, ClosedState) for an end that came from the other side. */
const CLOSED_BY_NODE: ReadonlySet<string> = new Set(["Client Closed", "Read Error", "Write Error"]);

/** Its words for ends that what came over the connection has caused, and ours. */
const EXPELLED: ReadonlyMap<string, string> = new Map([
  ["Maximum Message Payload Exceeded", "sent a message larger than the bus takes"],
  ["Maximum Control Line Exceeded", "sent a line longer than the bus takes"],
  ["Maximum Subscriptions Exceeded", "wanted more subscriptions than the bus gives"],
  ["Protocol Violation", "sent what is not the bus's language"],
  ["Parse Error", "sent what is not the bus's language"],
]);

export interface Presence {
  onDisconnect(listener: (node: NodeId) => void): Subscription;
  isConnected(node: NodeId): boolean;
  onTrespass(listener: (node: NodeId, what: string) => void): Subscription;
}

export function watchDisconnects(system: Connection, nodes: () => readonly BusNode[]): Presence {
  const listeners = new Set<(node: NodeId) => void>();
  const wardens = new Set<(node: NodeId, what: string) => void>();
  const nodeOf = (user: string): NodeId | undefined => nodes().find(({ publicKey }) => publicKey === user)?.id;
  /** Open connections by user, the coordinator's own among them. */
  const connections = new Map<string, Set<number>>();
  const watch = (kind: "CONNECT" | "DISCONNECT", seen: (user: string, connection: number, reason: string) => void): void => {
    const callback = (error: Error | null, message: { data: Uint8Array }): void => {
      const event = error === null ? ClientEvent.safeParse(decodeBody(message.data)) : undefined;
      if (event?.success === true) seen(event.data.client.user, event.data.client.id, event.data.reason ?? "");
    };
    system.nc.subscribe(`$SYS.ACCOUNT.${ACCOUNT}.${kind}`, { callback });
  };
  watch("CONNECT", (user, connection) => {
    connections.set(user, (connections.get(user) ?? new Set()).add(connection));
  });
  watch("DISCONNECT", (user, connection, reason) => {
    const trespass = EXPELLED.get(reason);
    const node = nodeOf(user);
    if (trespass !== undefined && node !== undefined) for (const warden of wardens) warden(node, trespass);
    const open = connections.get(user);
    open?.delete(connection);
    if (open !== undefined && open.size > 0) return;
    connections.delete(user);
    if (!CLOSED_BY_NODE.has(reason) || node === undefined) return;
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
    onTrespass(listener) {
      wardens.add(listener);
      return { stop: () => wardens.delete(listener) };
    },
    isConnected(node) {
      const key = nodes().find(({ id }) => id === node)?.publicKey;
      return key !== undefined && connections.has(key);
    },
  };
}
