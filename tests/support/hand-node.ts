/** A node that a test plays by hand on the ram bus of a RamCluster: it says what it is told to, and keeps what it is offered. */
import { NodeId } from "@openclaw-cluster/contract/ids";
import type { Heartbeat, Offer, Offers } from "@openclaw-cluster/contract/wire";
import { heartbeatFrom, offersTo } from "../../cluster/src/bus/subjects.ts";
import { keyFor } from "./fake-keys.ts";
import { factsOf, type RamCluster } from "./ram-cluster.ts";

export interface HandNode {
  readonly id: NodeId;
  readonly offers: readonly Offer[];
  /** Offers are answered when they have arrived. */
  confirms: boolean;
  /** `boot` counts its lives. */
  beat(boot: number, more?: Partial<Heartbeat>): void;
  close(): Promise<void>;
}

const LOAD = { cpu: 0, memoryFreeMiB: 1_000, diskFreeMiB: 1_000, running: 0, held: 0 };

export async function playNode(cluster: RamCluster, name: string): Promise<HandNode> {
  const id = NodeId.parse(name);
  await cluster.coordinator.enrol({
    id,
    publicKey: keyFor(name),
  });
  const bus = cluster.net.connect(id);
  const offers: Offer[] = [];
  let said = 0;
  const node: HandNode = {
    id,
    offers,
    confirms: true,
    beat(boot, more = {}) {
      bus.publish(heartbeatFrom(id), { node: id, boot, n: ++said, load: LOAD, facts: factsOf(), held: [], ...more } satisfies Heartbeat);
    },
    close: () => bus.close(),
  };
  bus.subscribe(offersTo(id), ({ body, respond }) => {
    offers.push(...(body as Offers).offers);
    if (node.confirms) respond?.({});
  });
  return node;
}
