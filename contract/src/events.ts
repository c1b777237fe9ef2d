/**
 * The event feed: what changed, in order. `id` grows by one for each event of one coordinator's term; after a restart
 * the ids go on above the old ones (epoch · 2^32 + n), so that Last-Event-ID always means "after this".
 */
import { z } from "zod";
import { NodeId, TaskId } from "./ids.ts";
import { Json } from "./json.ts";
import { Progress, Reason, TaskError, TaskState } from "./task.ts";
import { NodeState } from "./node.ts";

const base = { id: z.int(), at: z.int() };
/** hidden: the task is another's, and result, error and the progress's words are left out. */
const whose = { owner: z.string().optional(), hidden: z.literal(true).optional() };
/** Results up to this many bytes ride in the event itself. */
export const EVENT_RESULT_BYTES_MAX = 4_096;

export const ClusterEvent = z
  .discriminatedUnion("type", [
    z.object({
      ...base,
      type: z.literal("task"),
      task: TaskId,
      state: TaskState,
      reason: Reason,
      seq: z.int(),
      attempt: z.int(),
      node: NodeId.optional(),
      /** By the worker's clock. */
      startedAt: z.int().optional(),
      result: Json.optional(),
      error: TaskError.optional(),
      ...whose,
    }),
    z.object({ ...base, type: z.literal("progress"), task: TaskId, progress: Progress, ...whose }),
    /** removed: an administrator took it out of the cluster; no node is ever shown in that state. */
    z.object({ ...base, type: z.literal("node"), node: NodeId, state: NodeState.or(z.literal("removed")), draining: z.boolean() }),
    /** Events were dropped or are too old: read the present state again. */
    z.object({ ...base, type: z.literal("gap") }),
  ])
  .meta({ id: "ClusterEvent" });
export type ClusterEvent = z.infer<typeof ClusterEvent>;
export type TaskEvent = Extract<ClusterEvent, { type: "task" }>;
