/** What the scheduler must know of a node. The coordinator's registry makes it from the store's row and the last heartbeat. */
import type { NodeId } from "@openclaw-cluster/contract/ids";
import type { NodeFacts, NodeLoad, NodeState } from "@openclaw-cluster/contract/node";
import type { Labels } from "@openclaw-cluster/contract/task-spec";

export interface SchedulableNode {
  readonly id: NodeId;
  readonly state: NodeState;
  readonly draining: boolean;
  /** undefined until the node has sent them. */
  readonly facts: NodeFacts | undefined;
  /** The node's own with the operator's laid over them. */
  readonly labels: Labels;
  readonly slots: number;
  readonly load: NodeLoad | undefined;
}
