/**
 * Many tasks at once: which ones, what is done to them, and how far it came. A call does a bounded part of the work and
 * says where to go on; a part that is done stays done, whatever becomes of the rest.
 */
import { z } from "zod";
import { ErrorCode } from "./errors.ts";
import { NodeId, TaskId } from "./ids.ts";
import { LIMITS } from "./limits.ts";
import { TaskState } from "./task.ts";
import { TaskKind } from "./task-spec.ts";

/** What tasks that failed alike have in common: the error's code and a hash of what stays the same of it. */
export const Alike = z.string().regex(/^[a-z_]{1,32}-[0-9a-f]{8}$/);

/** Conditions on a task; all of them must hold. */
export const TASK_CONDITIONS = {
  state: z.union([TaskState, z.array(TaskState).min(1)]).optional(),
  kind: TaskKind.optional(),
  node: NodeId.optional(),
  /** `name=value`. */
  label: z.string().max(260).optional(),
  name: z.string().max(128).optional(),
  user: z.string().max(128).optional(),
  /** Whose they are. */
  owner: z.string().max(64).optional(),
  /** One of the groups of `GET /tasks/dead`. */
  alike: Alike.optional(),
} as const;

/** Nothing is done to every task by accident: that is asked for with `all`. */
export const BulkFilter = z
  .strictObject({
    ...TASK_CONDITIONS,
    /** Those of the user who asks. */
    mine: z.literal(true).optional(),
    dead: z.literal(true).optional(),
    all: z.literal(true).optional(),
  })
  .refine((filter) => Object.values(filter).some((condition) => condition !== undefined), "name a condition, or say all: true");
export type BulkFilter = z.infer<typeof BulkFilter>;

const common = {
  filter: BulkFilter,
  /** Only count. */
  dryRun: z.boolean().optional(),
  /** `next` of the call before. */
  cursor: z.int().min(1).optional(),
};

export const BulkRequest = z.discriminatedUnion("action", [
  z.strictObject({ action: z.literal("cancel"), ...common }),
  z.strictObject({ action: z.literal("retry"), ...common }),
  z.strictObject({ action: z.literal("answer"), decision: z.enum(["retry", "fail"]), ...common }),
]);
export type BulkRequest = z.infer<typeof BulkRequest>;

export const BulkReport = z
  .object({
    /** Tasks that met the filter; each was changed or refused. A dry run changes none, and refuses only those that are others'. */
    matched: z.int().min(0),
    changed: z.int().min(0),
    refused: z.int().min(0),
    /** The first of those that were refused. */
    refusals: z.array(z.object({ id: TaskId, code: ErrorCode, detail: z.string() })).max(LIMITS.bulkRefusalsShown),
    /** There may be more: the same request with this as its `cursor` goes on. */
    next: z.int().optional(),
  })
  .meta({ id: "BulkReport" });
export type BulkReport = z.infer<typeof BulkReport>;

export const DeadGroup = z
  .object({
    alike: Alike,
    code: ErrorCode,
    /** What stays the same of the error, for people. */
    what: z.string(),
    count: z.int().min(1),
    /** Newest first. */
    examples: z.array(TaskId),
    nodes: z.array(NodeId),
    lastEndedAt: z.int(),
  })
  .meta({ id: "DeadGroup" });
export type DeadGroup = z.infer<typeof DeadGroup>;

/** Largest group first; only of one's own below the scope operator, because a group tells what its tasks failed of. `tasks`: how many were looked at, newest first; `next`: the cursor of the older ones. */
export const DeadPage = z.object({ groups: z.array(DeadGroup), tasks: z.int().min(0), next: z.int().optional() });
export type DeadPage = z.infer<typeof DeadPage>;
