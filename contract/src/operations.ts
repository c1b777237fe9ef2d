/**
 * Every HTTP operation, once: path, scope, and the schemas of what goes in and out. The API mounts this table, the
 * OpenAPI document is generated from it, and the client takes its types from it. Paths stand under `/api/v1`.
 */
import { z } from "zod";
import { AUDIT, AuditPage } from "./audit.ts";
import { BulkReport, BulkRequest, DeadPage, TASK_CONDITIONS } from "./bulk.ts";
import { Backup, ClusterView, Health, QueueView } from "./cluster.ts";
import { ClusterEvent } from "./events.ts";
import { NodeId, TaskId } from "./ids.ts";
import { Json } from "./json.ts";
import { LIMITS } from "./limits.ts";
import { MODEL_OPERATIONS } from "./model-operations.ts";
import { Node } from "./node.ts";
import type { Operation } from "./operation.ts";
import { Explanation } from "./placement.ts";
import { Invite, InviteRequest, PublicKey } from "./join.ts";
import { CONTROL_OPERATIONS } from "./control-operations.ts";
import { MEMBERSHIP_OPERATIONS } from "./membership-operations.ts";
import { MIGRATION_OPERATIONS } from "./store-migration.ts";
import { Attempt, Submitted, Task } from "./task.ts";
import { TaskSpec } from "./task-spec.ts";
import { TokenId, TokenMade, TokenRequest, TokenRotation, TokenView } from "./token.ts";
import { OutputChunk } from "./wire.ts";

const TaskParams = z.object({ id: TaskId });
const NodeParams = z.object({ id: NodeId });
const Cursor = z.coerce.number().int().min(1).optional();
const Limit = z.coerce.number().int().min(1).max(LIMITS.listMax).default(50);

export const SubmitMany = z.strictObject({ tasks: z.array(TaskSpec).min(1).max(LIMITS.submitTasksMax) });
export const SubmitBody = z.union([TaskSpec, SubmitMany]);

export const TaskFilter = z.object({ ...TASK_CONDITIONS, mine: z.stringbool().optional(), dead: z.stringbool().optional() });
export type TaskFilter = z.infer<typeof TaskFilter>;
/** Newest first; `next` is the cursor of the following page. */
export const TaskPage = z.object({ tasks: z.array(Task), next: z.int().optional() });
export type TaskPage = z.infer<typeof TaskPage>;

/** A node that may connect: its public nkey (`U…`). The answer says where the bus is. */
export const Enrol = z.strictObject({ id: NodeId, publicKey: PublicKey });
export const Enrolled = z.object({
  node: NodeId,
  cluster: z.string(),
  busUrls: z.array(z.string()),
  coordinatorKey: PublicKey,
  epoch: z.int(),
});
export type Enrolled = z.infer<typeof Enrolled>;

/** Where it lies on the coordinator's disk, and how many tasks are in it. */
export const BackupTaken = Backup.extend({ path: z.string(), tasks: z.int() });
export type BackupTaken = z.infer<typeof BackupTaken>;

export const OPERATIONS = {
  submit: {
    method: "post",
    path: "/tasks",
    scope: "submitter",
    status: 202,
    summary: "Submit one task, or {tasks:[…]}; ?plan=true only says where it would run",
    query: z.object({ plan: z.stringbool().optional() }),
    body: SubmitBody,
    reply: z.union([Submitted, z.object({ tasks: z.array(Submitted) }), Explanation, z.object({ plans: z.array(Explanation) })]),
  },
  listTasks: {
    method: "get",
    path: "/tasks",
    scope: "viewer",
    others: "outline",
    status: 200,
    summary: "Tasks, newest first",
    query: TaskFilter.extend({ cursor: Cursor, limit: Limit }),
    reply: TaskPage,
  },
  deadLetters: {
    method: "get",
    path: "/tasks/dead",
    scope: "viewer",
    others: "absent",
    status: 200,
    summary: "Tasks that failed for good, gathered by what they failed of",
    query: z.object({ cursor: Cursor }),
    reply: DeadPage,
  },
  bulk: {
    method: "post",
    path: "/tasks/bulk",
    scope: "submitter",
    others: "refused",
    status: 200,
    summary: "Cancel, retry or answer every task that meets a filter",
    body: BulkRequest,
    reply: BulkReport,
  },
  getTask: {
    method: "get",
    path: "/tasks/{id}",
    scope: "viewer",
    others: "outline",
    status: 200,
    summary: "One task; ?wait=30 answers when it ends, or after 30 s as it is",
    params: TaskParams,
    query: z.object({
      wait: z.coerce
        .number()
        .min(0)
        .max(LIMITS.waitMsMax / 1000)
        .optional(),
    }),
    reply: Task,
  },
  why: {
    method: "get",
    path: "/tasks/{id}/why",
    scope: "viewer",
    others: "refused",
    status: 200,
    summary: "Why it runs where it runs, or why it waits",
    params: TaskParams,
    reply: Explanation,
  },
  attempts: {
    method: "get",
    path: "/tasks/{id}/attempts",
    scope: "viewer",
    others: "outline",
    status: 200,
    summary: "Every attempt, first to last; without errors where the task is another's",
    params: TaskParams,
    reply: z.object({ attempts: z.array(Attempt), hidden: z.literal(true).optional() }),
  },
  result: {
    method: "get",
    path: "/tasks/{id}/result",
    scope: "viewer",
    others: "refused",
    status: 200,
    summary: "The result alone, also where it is too large to stand in the task",
    params: TaskParams,
    reply: Json,
  },
  logs: {
    method: "get",
    path: "/tasks/{id}/logs",
    scope: "viewer",
    others: "refused",
    status: 200,
    stream: true,
    summary: "Output as server-sent events; ?follow=true goes on until the task ends",
    params: TaskParams,
    query: z.object({ follow: z.stringbool().optional(), attempt: z.coerce.number().int().min(1).optional() }),
    reply: OutputChunk,
  },
  cancel: {
    method: "post",
    path: "/tasks/{id}/cancel",
    scope: "submitter",
    others: "refused",
    status: 202,
    summary: "Cancel it, in whatever state it is",
    params: TaskParams,
    reply: Task,
  },
  retry: {
    method: "post",
    path: "/tasks/{id}/retry",
    scope: "submitter",
    others: "refused",
    status: 202,
    summary: "Run a failed or cancelled task again",
    params: TaskParams,
    reply: Task,
  },
  answer: {
    method: "post",
    path: "/tasks/{id}/answer",
    scope: "submitter",
    others: "refused",
    status: 202,
    summary: "Decide on a task that waits for a person",
    params: TaskParams,
    body: z.strictObject({ decision: z.enum(["retry", "fail"]) }),
    reply: Task,
  },
  queue: {
    method: "get",
    path: "/queue",
    scope: "viewer",
    others: "outline",
    status: 200,
    summary: "What waits, in the order of placing",
    query: z.object({ limit: Limit }),
    reply: QueueView,
  },
  cluster: { method: "get", path: "/cluster", scope: "viewer", status: 200, summary: "The cluster in numbers", reply: ClusterView },
  health: { method: "get", path: "/cluster/health", scope: "viewer", status: 200, summary: "What is wrong, if anything", reply: Health },
  backup: {
    method: "post",
    path: "/backups",
    scope: "admin",
    status: 200,
    takesMs: LIMITS.backupMsMax,
    summary: "Copy the store, while it works, to the coordinator's own folder of backups",
    reply: BackupTaken,
  },
  backups: {
    method: "get",
    path: "/backups",
    scope: "viewer",
    status: 200,
    summary: "Backups that are there, newest first",
    reply: z.object({ backups: z.array(Backup) }),
  },
  events: {
    method: "get",
    path: "/events",
    scope: "viewer",
    others: "outline",
    status: 200,
    stream: true,
    summary: "Everything that changes, as server-sent events; Last-Event-ID resumes",
    query: z.object({ task: TaskId.optional(), types: z.string().max(64).optional(), terminal: z.stringbool().optional() }),
    reply: ClusterEvent,
  },
  nodes: {
    method: "get",
    path: "/nodes",
    scope: "viewer",
    status: 200,
    summary: "The nodes; ?all=true also those that nobody has heard of for a week",
    query: z.object({ all: z.stringbool().optional() }),
    reply: z.object({ nodes: z.array(Node) }),
  },
  ...MODEL_OPERATIONS,
  nodesOnline: {
    method: "get",
    path: "/nodes/online",
    scope: "viewer",
    status: 200,
    summary: "Nodes that are ready",
    reply: z.object({ nodes: z.array(Node) }),
  },
  nodesWithSkill: {
    method: "get",
    path: "/nodes/skills/{skill}",
    scope: "viewer",
    status: 200,
    summary: "Ready nodes on which this skill is eligible",
    params: z.object({ skill: z.string().max(128) }),
    reply: z.object({ nodes: z.array(Node) }),
  },
  invite: {
    method: "post",
    path: "/join-tokens",
    scope: "admin",
    status: 200,
    summary: "Make a join code for one machine, for some minutes",
    body: InviteRequest,
    reply: Invite,
  },
  ...MEMBERSHIP_OPERATIONS,
  ...MIGRATION_OPERATIONS,
  audit: {
    method: "get",
    path: "/audit",
    scope: "admin",
    status: 200,
    summary: "Who let whom in and changed what, oldest first, each entry bound to the one before it",
    query: z.object({
      after: z.coerce.number().int().min(0).default(0),
      limit: z.coerce.number().int().min(1).max(AUDIT.pageMax).default(100),
    }),
    reply: AuditPage,
  },
  tokens: {
    method: "get",
    path: "/tokens",
    scope: "admin",
    status: 200,
    summary: "The API's tokens, without what makes them tokens",
    reply: z.object({ tokens: z.array(TokenView) }),
  },
  makeToken: {
    method: "post",
    path: "/tokens",
    scope: "admin",
    status: 200,
    summary: "Make a token; the answer shows it, and nothing does again",
    body: TokenRequest,
    reply: TokenMade,
  },
  revokeToken: {
    method: "delete",
    path: "/tokens/{id}",
    scope: "admin",
    status: 200,
    summary: "Take a token back, from the next request on",
    params: z.object({ id: TokenId }),
    reply: TokenView,
  },
  rotateToken: {
    method: "post",
    path: "/tokens/{id}/rotate",
    scope: "admin",
    status: 200,
    summary: "Make another secret for a token; the answer shows it, and nothing does again",
    params: z.object({ id: TokenId }),
    body: TokenRotation,
    reply: TokenMade,
  },
  enrol: { method: "post", path: "/nodes", scope: "admin", status: 200, summary: "Let a node's key in", body: Enrol, reply: Enrolled },
  node: { method: "get", path: "/nodes/{id}", scope: "viewer", status: 200, summary: "One node", params: NodeParams, reply: Node },
  nodeHealth: {
    method: "get",
    path: "/nodes/{id}/health",
    scope: "viewer",
    status: 200,
    summary: "Is this node well",
    params: NodeParams,
    reply: Health,
  },
  approveNode: {
    method: "post",
    path: "/nodes/{id}/approve",
    scope: "admin",
    status: 200,
    summary: "Let a node in that has joined and waits for it",
    params: NodeParams,
    reply: Node,
  },
  revokeNode: {
    method: "post",
    path: "/nodes/{id}/revoke",
    scope: "admin",
    status: 200,
    summary: "Shut a node out: its connection is cut, its key is not taken again, its tasks go to others",
    params: NodeParams,
    reply: Node,
  },
  patchNode: {
    method: "patch",
    path: "/nodes/{id}",
    scope: "operator",
    status: 200,
    summary: "Set labels (null removes one) or slots",
    params: NodeParams,
    body: z.strictObject({
      labels: z.record(z.string().min(1).max(128), z.string().max(128).nullable()).optional(),
      slots: z.int().min(1).max(1024).optional(),
    }),
    reply: Node,
  },
  drain: {
    method: "post",
    path: "/nodes/{id}/drain",
    scope: "operator",
    status: 200,
    summary: "No new work for this node",
    params: NodeParams,
    reply: Node,
  },
  resume: {
    method: "post",
    path: "/nodes/{id}/resume",
    scope: "operator",
    status: 200,
    summary: "New work for this node again",
    params: NodeParams,
    reply: Node,
  },
  removeNode: {
    method: "delete",
    path: "/nodes/{id}",
    scope: "admin",
    status: 200,
    summary: "Take a node out that is gone for good; the answer is the node as it was last",
    params: NodeParams,
    reply: Node,
  },
  shutdownNode: {
    method: "post",
    path: "/nodes/{id}/shutdown",
    scope: "admin",
    status: 202,
    summary: "Ask the node's daemon to end in good order",
    params: NodeParams,
    reply: Node,
  },
  ...CONTROL_OPERATIONS,
} as const satisfies Record<string, Operation>;

export type OperationName = keyof typeof OPERATIONS;
