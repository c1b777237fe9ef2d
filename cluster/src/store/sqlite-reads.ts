/**
 * Everything that only reads. SQLite runs on the event loop's own thread, so every read a caller can ask for is bounded;
 * only `load`, once at the start, reads all that is live.
 */
import type { DatabaseSync } from "node:sqlite";
import type { AuditEntry } from "@openclaw-cluster/contract/audit";
import type { Attempt, TaskState } from "@openclaw-cluster/contract/task";
import { isTerminal, type TaskRecord } from "../core/task.ts";
import { TASK_COLUMNS, TASK_JOINS, toRecord, type TaskRow, type Value } from "./sqlite-rows.ts";
import { EMPTY_CHAIN, type ChainHead } from "../trust/audit-chain.ts";
import { lastKeyOf } from "./sqlite-writes.ts";
import type { ListFilter, Loaded, Page, SubmitKey } from "./store.ts";

/** Rows that one page looks at in search of what fits: 2 to 5 ms. Then the page ends, short, and says where to go on. */
export const ROWS_SCANNED_MAX = 5_000;
/** JSON that one page brings; 500 tasks could hold 250 MB. A page has at least one task. */
export const PAGE_CHARS_MAX = 4 * 1024 * 1024;

export class Reads {
  private readonly database: DatabaseSync;
  private readonly statements: ReturnType<typeof prepare>;

  constructor(database: DatabaseSync) {
    this.database = database;
    this.statements = prepare(database);
  }

  load(): Loaded {
    const live: TaskRecord[] = [];
    const counts: Partial<Record<TaskState, number>> = {};
    for (const row of this.statements.live.iterate()) {
      const task = toRecord(row as unknown as TaskRow);
      live.push(task);
      counts[task.state] = (counts[task.state] ?? 0) + 1;
    }
    for (const { state, count } of this.statements.countOver.all() as unknown as { state: TaskState; count: number }[])
      counts[state] = count;
    const nodes = this.statements.nodes.all().map((row) => JSON.parse(row["node"] as string));
    const tokens = this.statements.tokens.all().map((row) => JSON.parse(row["token"] as string));
    const auditHead = (this.statements.auditHead.get() as unknown as ChainHead | undefined) ?? EMPTY_CHAIN;
    return { live, nodes, tokens, auditHead: { ...auditHead }, counts, lastKey: lastKeyOf(this.database) };
  }

  task(key: number): TaskRecord | undefined {
    const row = this.statements.task.get(key) as unknown as TaskRow | undefined;
    return row && toRecord(row);
  }

  attempts(key: number): readonly Attempt[] {
    return this.statements.attempts.all(key).map((row) => JSON.parse(row["attempt"] as string));
  }

  submitKey(owner: string, key: string): SubmitKey | undefined {
    const row = this.statements.submitKey.get(owner, key) as { body_hash: string; runs: string; at: number } | undefined;
    return row && { owner, key, bodyHash: row.body_hash, runs: JSON.parse(row.runs), at: row.at };
  }

  audit({ after, limit }: { after: number; limit: number }): readonly AuditEntry[] {
    return this.statements.audit.all(after, limit).map((row) => ({ ...row }) as unknown as AuditEntry);
  }

  list(filter: ListFilter, { before = Number.MAX_SAFE_INTEGER, limit }: { before?: number; limit: number }): Page {
    if (filter.states?.length === 0) return { tasks: [] };
    const { from, conditions, values } = narrow(filter);
    const floor = conditions.length === 0 ? undefined : this.floor(from, before);
    const where = ["t.key < ?", "t.key > ?", from.live, ...conditions].join(" AND ");
    const rows = this.database
      .prepare(`SELECT ${TASK_COLUMNS} FROM tasks t ${from.index} ${TASK_JOINS} WHERE ${where} ORDER BY t.key DESC LIMIT ?`)
      .iterate(before, floor ?? 0, ...values, limit + 1);
    const tasks: TaskRecord[] = [];
    let chars = 0;
    for (const row of rows as Iterable<unknown> as Iterable<TaskRow>) {
      const last = tasks.at(-1);
      if (last !== undefined && (tasks.length === limit || chars > PAGE_CHARS_MAX)) return { tasks, next: last.key };
      tasks.push(toRecord(row));
      chars += row.spec.length + (row.result?.length ?? 0) + (row.placement?.length ?? 0);
    }
    return floor === undefined ? { tasks } : { tasks, next: floor + 1 };
  }

  /** The key at which a scan from `before` downwards has seen enough; undefined when it may go to the end. */
  private floor(from: Source, before: number): number | undefined {
    const row = this.database
      .prepare(
        `SELECT t.key FROM tasks t ${from.index} WHERE t.key < ? AND ${from.live} ORDER BY t.key DESC LIMIT 1 OFFSET ${ROWS_SCANNED_MAX}`,
      )
      .get(before);
    return row?.["key"] as number | undefined;
  }
}

interface Source {
  readonly index: string;
  readonly live: string;
}

const EVERYTHING: Source = { index: "NOT INDEXED", live: "true" };
const LIVE: Source = { index: "INDEXED BY tasks_live", live: "t.live = 1" };
const DEAD: Source = { index: "INDEXED BY tasks_dead", live: "t.live = 2" };

/** Only live tasks, or dead letters, are asked for in most lists; then history is not even looked at. */
function narrow(filter: ListFilter): { from: Source; conditions: string[]; values: Value[] } {
  const conditions: string[] = [];
  const values: Value[] = [];
  const add = (condition: string, ...its: Value[]): void => {
    conditions.push(condition);
    values.push(...its);
  };
  const { states } = filter;
  if (states !== undefined) add(`t.state IN (${states.map(() => "?").join(", ")})`, ...states);
  if (filter.kind !== undefined) add("t.kind = ?", filter.kind);
  if (filter.node !== undefined) add("t.node = ?", filter.node);
  if (filter.name !== undefined) add("t.name = ?", filter.name);
  if (filter.user !== undefined) add("t.user = ?", filter.user);
  if (filter.owner !== undefined) add("t.owner = ?", filter.owner);
  if (filter.label !== undefined) add("EXISTS (SELECT 1 FROM json_each(t.labels) l WHERE l.key = ? AND l.value = ?)", ...filter.label);
  const onlyLive = states !== undefined && !states.some(isTerminal);
  return { from: filter.dead === true ? DEAD : onlyLive ? LIVE : EVERYTHING, conditions, values };
}

function prepare(database: DatabaseSync) {
  return {
    live: database.prepare(`SELECT ${TASK_COLUMNS} FROM tasks t INDEXED BY tasks_live ${TASK_JOINS} WHERE t.live = 1 ORDER BY t.key`),
    countOver: database.prepare("SELECT state, count(*) AS count FROM tasks WHERE live <> 1 GROUP BY state"),
    nodes: database.prepare("SELECT node FROM nodes ORDER BY id"),
    tokens: database.prepare("SELECT token FROM tokens ORDER BY id"),
    auditHead: database.prepare("SELECT seq, hash FROM audit ORDER BY seq DESC LIMIT 1"),
    audit: database.prepare("SELECT seq, at, actor, action, object, hash FROM audit WHERE seq > ? ORDER BY seq LIMIT ?"),
    task: database.prepare(`SELECT ${TASK_COLUMNS} FROM tasks t ${TASK_JOINS} WHERE t.key = ?`),
    attempts: database.prepare("SELECT attempt FROM attempts WHERE key = ? ORDER BY n"),
    submitKey: database.prepare("SELECT body_hash, runs, at FROM submit_keys WHERE owner = ? AND key = ?"),
  };
}
