/** What a coordinator is told of those that share its store: who leads, who stands by, and what the store and the bus stand on. */
import type { BusServer, ClusterView, ControlNode, StoreMember } from "@openclaw-cluster/contract/cluster";

export interface ControlView {
  readonly nodes: readonly ControlNode[];
  /** Absent: none of them answers. */
  readonly members?: readonly StoreMember[];
  readonly bus: { readonly mode: "alone" | "cluster"; readonly servers: readonly BusServer[] };
  /** How old what is read here may be; 0: a quorum has just confirmed it. Absent where this machine leads. */
  readonly staleMs?: number;
}

export interface ControlWatch {
  /** As it is now; resolves within a few seconds, whoever is away. */
  view(): Promise<ControlView>;
  /** As it was a few seconds ago. */
  problems(): readonly string[];
}

/** With what is known of them. */
export function withControl(cluster: ClusterView, { nodes, members, bus, staleMs }: ControlView): ClusterView {
  return {
    ...cluster,
    control: [...nodes],
    ...(staleMs !== undefined && { standsBy: { staleMs } }),
    store: { ...cluster.store, ...(members !== undefined && { members: [...members] }) },
    bus: { ...cluster.bus, mode: bus.mode, servers: [...bus.servers] },
  };
}
