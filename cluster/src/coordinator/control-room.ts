/** What the coordinator needs of the machine it leads on, to make others control nodes and workers again. */
import type { NodeId } from "@openclaw-cluster/contract/ids";

export interface ControlRoom {
  /** Is it one, up or not? */
  has(node: NodeId): boolean;
  /**
   * All that a new control node has to know, as text: the cluster's own keys among it. For one reader's eyes only. `token`: with
   * which the machine's own administrator asks. Throws state_conflict where no further one can be taken in.
   */
  handover(options: { readonly witness: boolean; readonly token: string }): Promise<string>;
  /** Throws state_conflict where too few would be left without it. */
  checkRelease(node: NodeId): Promise<void>;
  /** It is one no more: out of the list, out of etcd's members and the bus's. As checkRelease. */
  release(node: NodeId): Promise<void>;
  /** Lets another control node lead, and stands back for a while. Throws state_conflict where there is no other. */
  handOver(): void;
}
