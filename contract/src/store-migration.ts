/** Moving the coordinator's store to another kind while it works: what is asked, how it goes, and its operations. */
import { z } from "zod";
import { ErrorCode } from "./errors.ts";
import type { Operation } from "./operation.ts";

const ENDPOINTS_MAX = 16;
const CHARS_MAX = 4_096;
const Text = z.string().min(1).max(CHARS_MAX);

const Place = z.enum(["sqlite", "etcd"]);

/** Files are the coordinator's own. What is not said is as its settings say. */
export const MigrationRequest = z
  .strictObject({
    to: Place,
    /** Of an etcd that runs already. */
    endpoints: z.array(Text).min(1).max(ENDPOINTS_MAX).optional(),
    caFile: Text.optional(),
    certFile: Text.optional(),
    keyFile: Text.optional(),
  })
  .meta({ id: "MigrationRequest" });
export type MigrationRequest = z.infer<typeof MigrationRequest>;

export const Migration = z
  .object({
    to: Place,
    /** following: what was committed since is written too. switching: intake stands still. */
    phase: z.enum(["copying", "comparing", "following", "switching", "done", "failed"]),
    startedAt: z.int(),
    endedAt: z.int().optional(),
    /** Tasks that are copied, of those that there were when it began. */
    copied: z.int(),
    of: z.int(),
    /** Rows that were committed since, and wait to be written. */
    behind: z.int(),
    /** How long intake stood still. */
    stopMs: z.int().optional(),
    error: z.object({ code: ErrorCode, detail: z.string() }).optional(),
  })
  .meta({ id: "Migration" });
export type Migration = z.infer<typeof Migration>;

export const MIGRATION_OPERATIONS = {
  migrateStore: {
    method: "post",
    path: "/store/migration",
    scope: "admin",
    status: 202,
    summary: "Move the store to SQLite or etcd while it works; intake stands still for a moment at the end",
    body: MigrationRequest,
    reply: Migration,
  },
  storeMigration: {
    method: "get",
    path: "/store/migration",
    scope: "viewer",
    status: 200,
    summary: "How the store's last migration goes, or went",
    reply: z.object({ migration: Migration.optional() }),
  },
} as const satisfies Record<string, Operation>;
