/**
 * Which nodes are connected, from the events of the server's system account; they come within milliseconds of a process's
 * death, long before heartbeats are missed. A node may have two connections for a moment, when it came back before the
 * server noticed that the first was dead; only the end of its last one counts.
 *
 * P1. Only a connection that the other side closed is told: that is what a process's end looks like. One that the server
 *     gave up because it heard nothing says less than the heartbeats do, and its node may still be at work.
 * P2. One that the server ended because of what came over it is told as a trespass: no program of ours sends that.
 * P3. In a cluster the events come from all servers, and some get lost where one of them dies. So before an end is told, all are
 *     asked who is connected where (nats-census.ts): a node that has moved from one to another has not ended.
 */
import type { NodeId } from "@openclaw-cluster/contract/ids";
import { z } from "zod";
import type { Clock } from "../system/clock.ts";
import { decodeBody } from "./body.ts";
import type { Subscription } from "./bus.ts";
import { watchCensus } from "./nats-census.ts";
import { ACCOUNT, type BusNode } from "./nats-config.ts";
import type { Connection } from "./nats-connection.ts";
import { OpenConnections } from "./nats-open.ts";

const ClientEvent = z.object({
  server: z.object({ id: z.string() }),
  client: z.object({ id: z.int(), user: z.string() }),
  reason: z.string().optional(),
});
type ClientEvent = z.infer<typeof ClientEvent>;
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
  stop(): void;
}

export interface PresenceParts {
  readonly system: Connection;
  nodes(): readonly BusNode[];
  /** The server is one of several. */
  readonly clustered: boolean;
  readonly clock: Clock;
}

export function watchPresence({ system, nodes, clustered, clock }: PresenceParts): Presence {
  const listeners = new Set<(node: NodeId) => void>();
  const wardens = new Set<(node: NodeId, what: string) => void>();
  const nodeOf = (user: string): NodeId | undefined => nodes().find(({ publicKey }) => publicKey === user)?.id;
  const open = new OpenConnections();
  const census = watchCensus(system, open, clock, clustered);
  listen(system, "CONNECT", ({ client, server }) => open.begin(client.user, server.id, client.id));
  listen(system, "DISCONNECT", ({ client, server, reason = "" }) => {
    const trespass = EXPELLED.get(reason);
    const node = nodeOf(client.user);
    if (trespass !== undefined && node !== undefined) for (const warden of wardens) warden(node, trespass);
    open.end(client.user, server.id, client.id);
    if (!CLOSED_BY_NODE.has(reason) || node === undefined) return;
    const told = (): void => listeners.forEach((listener) => listener(node));
    if (clustered) census.whenGone(client.user, told);
    else if (!open.has(client.user)) told();
  });
  const ownServer = (): string | undefined => (clustered ? system.nc.info?.server_id : undefined);
  let own = ownServer();
  // A server that starts again knows none of the connections that it had.
  const status = system.onStatus((connected) => {
    if (!connected) return open.forget(own);
    own = ownServer();
    census.take();
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
      return key !== undefined && open.has(key);
    },
    stop() {
      status.stop();
      census.stop();
    },
  };
}

function listen(system: Connection, kind: "CONNECT" | "DISCONNECT", seen: (event: ClientEvent) => void): void {
  const callback = (error: Error | null, message: { data: Uint8Array }): void => {
    const event = error === null ? ClientEvent.safeParse(decodeBody(message.data)) : undefined;
    if (event?.success === true) seen(event.data);
  };
  system.nc.subscribe(`$SYS.ACCOUNT.${ACCOUNT}.${kind}`, { callback });
}
