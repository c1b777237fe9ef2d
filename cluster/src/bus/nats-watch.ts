/**
 * What the running nats-server tells of its nodes: who is connected, and what it refuses, from its events and its log.
 */
import type { NodeId } from "@openclaw-cluster/contract/ids";
import type { Clock } from "../system/clock.ts";
import type { Log } from "../system/log.ts";
import type { Subscription } from "./bus.ts";
import type { BusNode } from "./nats-config.ts";
import type { Connection } from "./nats-connection.ts";
import { watchServerLog, type Refusal } from "./nats-log.ts";
import { watchDisconnects } from "./nats-presence.ts";

type Trespass = (node: NodeId, what: string) => void;
type Guess = (address: string, key: string | undefined) => void;

export interface NodeWatch {
  onDisconnect(listener: (node: NodeId) => void): Subscription;
  isConnected(node: NodeId): boolean;
  onTrespass(listener: Trespass): Subscription;
  onGuess(listener: Guess): Subscription;
  stop(): void;
}

export async function watchNodes(parts: {
  readonly system: Connection;
  /** The server's log. */
  readonly file: string;
  readonly clock: Clock;
  readonly log: Log;
  /** Those that may connect now. */
  nodes(): readonly BusNode[];
}): Promise<NodeWatch> {
  const { system, nodes, ...where } = parts;
  const presence = watchDisconnects(system, nodes);
  const trespasses = new Set<Trespass>();
  const guesses = new Set<Guess>();
  const trespassed: Trespass = (node, what) => trespasses.forEach((listener) => listener(node, what));
  const refused = (refusal: Refusal): void => {
    if (refusal.kind === "guess") return guesses.forEach((listener) => listener(refusal.address, refusal.key));
    const node = nodes().find(({ publicKey }) => publicKey === refusal.key)?.id;
    if (node !== undefined) trespassed(node, refusal.what);
  };
  presence.onTrespass(trespassed);
  const watching = await watchServerLog({ ...where, refused });
  return {
    onDisconnect: (listener) => presence.onDisconnect(listener),
    isConnected: (node) => presence.isConnected(node),
    onTrespass: (listener) => listen(trespasses, listener),
    onGuess: (listener) => listen(guesses, listener),
    stop: () => watching.stop(),
  };
}

function listen<L>(listeners: Set<L>, listener: L): Subscription {
  listeners.add(listener);
  return { stop: () => listeners.delete(listener) };
}
