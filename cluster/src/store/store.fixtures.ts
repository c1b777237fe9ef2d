/** Records for the store's tests, named for what matters about them. */
import type { AuditEntry } from "@openclaw-cluster/contract/audit";
import type { NodeId } from "@openclaw-cluster/contract/ids";
import type { Attempt } from "@openclaw-cluster/contract/task";
import { create } from "../core/settle.ts";
import type { TaskRecord } from "../core/task.ts";
import type { NodeRow, SubmitKey, TokenRow } from "./store.ts";

export const NODE = "studio" as NodeId;

/** A queued task, the plainest there is. */
export function queued(key: number, change: Partial<TaskRecord> = {}): TaskRecord {
  return { ...create(key, { kind: "echo", input: { value: key } }, "cli", 1_000), ...change };
}

export function succeeded(task: TaskRecord, endedAt: number): TaskRecord {
  return { ...task, state: "succeeded", reason: "done", seq: task.seq + 1, endedAt, result: { said: "yes" } };
}

/** Everything a record can hold. */
export const FULL = queued(1, {
  owner: "ada",
  token: "k7qwjm2a",
  spec: { kind: "command", input: { argv: ["ls"] }, name: "nightly", user: "ada", labels: { gpu: "yes" } },
  state: "running",
  reason: "started",
  seq: 7,
  attempt: 3,
  failures: 1,
  losses: 1,
  throttles: 1,
  lastFailure: { node: NODE, print: "agent_failed-00c0ffee" },
  acted: true,
  dueAt: 1_500,
  startedAt: 2_100,
  endedAt: 1_900,
  lease: { node: NODE, epoch: 1, offeredAt: 2_000, startedAt: 2_100 },
  placement: {
    node: NODE,
    strategy: "balanced",
    at: 2_000,
    scored: [[NODE, 0.5, { eta: 0.25 }]],
    refused: [["nas" as NodeId, "os", "linux"]],
    refusedMore: 2,
  },
  progress: { fraction: 0.5, text: "half" },
  result: null,
  resultBlob: { blob: "b1", bytes: 9 },
  error: { code: "agent_failed", message: "no", data: { exit: 1 } },
});

export const ATTEMPT: Attempt = {
  n: 1,
  node: NODE,
  epoch: 1,
  state: "ended",
  outcome: "failed",
  offeredAt: 1,
  startedAt: 2,
  endedAt: 3,
  error: { code: "tool_failed", message: "no" },
};
export const KEY: SubmitKey = {
  owner: "cli",
  key: "k1",
  bodyHash: "h1",
  runs: [
    [1, 500],
    [700, 1],
  ],
  at: 1_000,
};
export const TOKEN: TokenRow = { id: "t1", hash: "h", scope: "admin", name: "laptop", user: "ada", createdAt: 1, expiresAt: 2 };
export const AUDIT_ENTRY: AuditEntry = { seq: 1, at: 1, actor: "coordinator", action: "node.enrolled", object: "studio", hash: "h1" };
export const NODE_ROW: NodeRow = {
  id: NODE,
  publicKey: "U",
  state: "approved",
  draining: false,
  labels: { room: "office" },
  slots: 3,
  registeredAt: 1,
  succeeded: 2,
  failed: 3,
};
