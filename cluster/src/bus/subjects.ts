/**
 * Every subject on the bus. A node may publish only under `ocx.up.<its id>` and `ocx.out.<its id>`, and subscribe only
 * under `ocx.down.<its id>` and its own inbox; nats-config.ts turns these into allow-lists.
 */
import type { NodeId, TaskId } from "@openclaw-cluster/contract/ids";

export const offersTo = (node: NodeId): string => `ocx.down.${node}.offers`;
export const controlTo = (node: NodeId): string => `ocx.down.${node}.control`;
export const reportFrom = (node: NodeId): string => `ocx.up.${node}.report`;
export const heartbeatFrom = (node: NodeId): string => `ocx.up.${node}.heartbeat`;
export const outputOf = (node: NodeId, task: TaskId, attempt: number): string => `ocx.out.${node}.${task}.${attempt}`;

export const ANY_REPORT = "ocx.up.*.report";
export const ANY_HEARTBEAT = "ocx.up.*.heartbeat";
export const ANY_OUTPUT = "ocx.out.>";
export const outputOfTask = (task: TaskId, attempt?: number): string => `ocx.out.*.${task}.${attempt ?? "*"}`;

/** The node that a message under `ocx.up` or `ocx.out` came from; the server's allow-lists make it trustworthy. */
export function senderOf(subject: string): NodeId {
  return subject.split(".", 3)[2] as NodeId;
}
