/**
 * What the running nats-server tells of its nodes: who is connected, and what it refuses, from its events and its log.
 *
 * W1. What a server refuses stands in its own log only, so in a cluster the daemon beside it says it to the others', through the
 *     system account, where none but these daemons may speak. The one that leads notes it, whichever server it was;
 *     while there is no route between the two, it stands in the server's own log alone.
 */
import type { NodeId } from "@openclaw-cluster/contract/ids";
import type { Clock } from "../system/clock.ts";
import type { Log } from "../system/log.ts";
import type { Subscription } from "./bus.ts";
import type { BusNode } from "./nats-config.ts";
import type { Connection } from "./nats-connection.ts";
import { watchServerLog, type Refusal } from "./nats-log.ts";
import { shareRefusals } from "./nats-shared-refusals.ts";
import { watchPresence } from "./nats-presence.ts";

type Trespass = (node: NodeId, what: string) => void;
type Guess = (address: string, key: string | undefined) => void;

export interface NodeWatch {
  onDisconnect(listener: (node: NodeId) => void): Subscription;
  isConnected(node: NodeId): boolean;
  onTrespass(listener: Trespass): Subscription;
  onGuess(listener: Guess): Subscription;
  stop(): void;
}

export interface WatchParts {
  readonly system: Connection;
  /** It is one of several: what it refuses it tells the others, and hears what they do. */
  readonly clustered: boolean;
  /** The server's log. */
  readonly file: string;
  readonly clock: Clock;
  readonly log: Log;
  /** Those that may connect now. */
  nodes(): readonly BusNode[];
}

export async function watchNodes(parts: WatchParts): Promise<NodeWatch> {
  const { system, nodes, clustered } = parts;
  const presence = watchPresence(parts);
  const trespasses = new Set<Trespass>();
  const guesses = new Set<Guess>();
  const trespassed: Trespass = (node, what) => trespasses.forEach((listener) => listener(node, what));
  const noted = (refusal: Refusal): void => {
    if (refusal.kind === "guess") return guesses.forEach((listener) => listener(refusal.address, refusal.key));
    const node = nodes().find(({ publicKey }) => publicKey === refusal.key)?.id;
    if (node !== undefined) trespassed(node, refusal.what);
  };
  presence.onTrespass(trespassed);
  const tell = clustered ? shareRefusals(system, parts.clock, noted) : undefined;
  const refused = (refusal: Refusal): void => {
    noted(refusal);
    tell?.(refusal);
  };
  const watching = await watchServerLog({ ...parts, refused });
  return {
    onDisconnect: (listener) => presence.onDisconnect(listener),
    isConnected: (node) => presence.isConnected(node),
    onTrespass: (listener) => listen(trespasses, listener),
    onGuess: (listener) => listen(guesses, listener),
    stop() {
      watching.stop();
      presence.stop();
    },
  };
}

function listen<L>(listeners: Set<L>, listener: L): Subscription {
  listeners.add(listener);
  return { stop: () => listeners.delete(listener) };
}
