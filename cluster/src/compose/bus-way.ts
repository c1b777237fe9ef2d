/**
 * Over which nats-servers the nodes of a cluster with several control nodes speak to whoever leads.
 *
 * B1. With three control nodes, or more, their servers are one: any of them will do, the nearest first.
 * B2. With fewer each is alone, and only that of whoever leads is heard. What lies in its streams stays on its machine.
 */
import type { Subscription } from "../bus/bus.ts";
import type { ControlNodes } from "../store/control-nodes.ts";
import type { ControlSeats } from "../store/control-seats.ts";
import type { Leadership } from "../store/leadership.ts";

export const CLUSTER_FROM = 3;
const COPIES = 3;

export interface BusWayParts {
  /** This control node's id. */
  readonly node: string;
  /** Where others reach its server. */
  readonly own: readonly string[];
  readonly seats: Pick<ControlSeats, "all" | "onChange">;
  readonly controlNodes: Pick<ControlNodes, "all" | "onChange">;
  readonly leadership: Pick<Leadership<never>, "leader" | "onLeader">;
}

export class BusWay {
  private readonly parts: BusWayParts;

  constructor(parts: BusWayParts) {
    this.parts = parts;
  }

  get clustered(): boolean {
    return this.parts.seats.all.length >= CLUSTER_FROM;
  }

  /** What whoever leads, here, tells the nodes. */
  told(): readonly string[] {
    const { own, controlNodes } = this.parts;
    return this.clustered
      ? ownFirst(
          own,
          controlNodes.all.map(({ busUrls }) => busUrls),
        )
      : own;
  }

  /** For this machine's own node; none where it is not known who leads. */
  forOwnNode(): readonly string[] {
    const { node, own, controlNodes, leadership } = this.parts;
    if (this.clustered) return this.told();
    const leader = leadership.leader?.node;
    return leader === node ? own : (controlNodes.all.find((one) => one.node === leader)?.busUrls ?? []);
  }

  /** How many servers keep each piece of output. */
  copies(): number {
    return this.clustered ? COPIES : 1;
  }

  /** Tells at once, and at each change, what `urls` gives, where that is not nothing. */
  onChange(urls: () => readonly string[], listener: (urls: readonly string[]) => void): Subscription {
    const { seats, controlNodes, leadership } = this.parts;
    let last = "";
    const look = (): void => {
      const now = urls();
      if (now.length === 0 || now.join() === last) return;
      last = now.join();
      listener(now);
    };
    look();
    const all = [seats.onChange(look), controlNodes.onChange(look), leadership.onLeader(look)];
    return { stop: () => all.forEach((one) => one.stop()) };
  }
}

/** Each once. */
export function ownFirst(own: readonly string[], others: readonly (readonly string[])[]): readonly string[] {
  return [...new Set([...own, ...others.flat()])];
}
