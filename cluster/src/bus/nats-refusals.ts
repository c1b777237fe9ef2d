/**
 * What the running nats-server refuses, told by node: what its log says of subjects and strangers, and why it ended a
 * node's connection.
 */
import type { NodeId } from "@openclaw-cluster/contract/ids";
import type { Clock } from "../system/clock.ts";
import type { Log } from "../system/log.ts";
import type { Subscription } from "./bus.ts";
import type { BusNode } from "./nats-config.ts";
import { watchServerLog, type Refusal } from "./nats-log.ts";
import type { Presence } from "./nats-presence.ts";

type Trespass = (node: NodeId, what: string) => void;
type Guess = (address: string, key: string | undefined) => void;

export interface Refusals {
  onTrespass(listener: Trespass): Subscription;
  onGuess(listener: Guess): Subscription;
  stop(): void;
}

export async function openRefusals(parts: {
  readonly presence: Pick<Presence, "onTrespass">;
  readonly file: string;
  readonly clock: Clock;
  readonly log: Log;
  /** Those that may connect now. */
  nodes(): readonly BusNode[];
}): Promise<Refusals> {
  const { presence, nodes, ...where } = parts;
  const trespasses = new Set<Trespass>();
  const guesses = new Set<Guess>();
  const refused = (refusal: Refusal): void => {
    if (refusal.kind === "guess") return guesses.forEach((listener) => listener(refusal.address, refusal.key));
    const node = nodes().find(({ publicKey }) => publicKey === refusal.key)?.id;
    if (node !== undefined) trespasses.forEach((listener) => listener(node, refusal.what));
  };
  const expelled = presence.onTrespass((node, what) => trespasses.forEach((listener) => listener(node, what)));
  const watching = await watchServerLog({ ...where, refused });
  return {
    onTrespass: (listener) => listen(trespasses, listener),
    onGuess: (listener) => listen(guesses, listener),
    stop() {
      expelled.stop();
      watching.stop();
    },
  };
}

function listen<L>(listeners: Set<L>, listener: L): Subscription {
  listeners.add(listener);
  return { stop: () => listeners.delete(listener) };
}
