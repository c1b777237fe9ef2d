/**
 * Everything that changes the database, each in one transaction. The hot path is `commit`: prepared statements, two
 * inserts for a new task, one update and at most one insert when it ends.
 *
 * S2 and S4 of store.ts are kept here. A batch that breaks the door's rules is a bug of the caller: it throws, and
 * nothing of it stays.
 */
import assert from "node:assert/strict";
import type { DatabaseSync } from "node:sqlite";
import type { Placement } from "../core/scheduling/placement.ts";
import { isTerminal, type TaskRecord } from "../core/task.ts";
import { failpoint } from "../system/failpoint.ts";
import { randomId } from "../system/random-id.ts";
import { Insert } from "./sqlite-insert.ts";
import {
  OUTCOME_ROW,
  SPEC_ROW,
  STATE_COLUMNS,
  TASK_ROW,
  hasOutcome,
  putOutcome,
  putSpec,
  putState,
  putTask,
  toJson,
  type Value,
} from "./sqlite-rows.ts";
import { inTransaction } from "./sqlite-transaction.ts";
import { StoreFenced, type Batch, type Claim, type Pruned, type PruneOptions } from "./store.ts";

/**
 * Rows that one prune looks at, oldest first, before it leaves the rest to the next call: 5 ms. An index by the time of
 * the end would find them at once, and cost every task 2 µs.
 */
const ROWS_PRUNED_MAX = 20_000;

export class Writes {
  private readonly database: DatabaseSync;
  private readonly statements: ReturnType<typeof prepare>;
  private lastKey: number;
  /** Where the next prune goes on. The oldest keys end first, so this is mostly 0. */
  private prunedTo = 0;
  /** The placement that each live task's row holds: a settle then need not write it again. Emptied when a commit fails. */
  private readonly placed = new Map<number, Placement>();

  constructor(database: DatabaseSync) {
    this.database = database;
    this.statements = prepare(database);
    this.lastKey = lastKeyOf(database);
  }

  claim(): Claim {
    return inTransaction(this.database, () => ({ ...(this.statements.claim.get(randomId()) as unknown as Claim) }));
  }

  commit(batch: Batch): void {
    const { created = [], changed = [] } = batch;
    const { statements } = this;
    try {
      inTransaction(this.database, () => {
        const meta = statements.epoch.get() as { epoch: number } | undefined;
        if (meta?.epoch !== batch.epoch) throw new StoreFenced(`epoch ${batch.epoch} is not the newest one, ${meta?.epoch}`);
        this.create(created);
        for (const task of changed) this.change(task);
        statements.outcomes.run(created.filter(hasOutcome));
        statements.outcomes.run(changed.filter(hasOutcome));
        this.writeRest(batch);
      });
    } catch (error) {
      this.placed.clear();
      throw error;
    }
    for (const { key } of created) this.lastKey = Math.max(this.lastKey, key);
  }

  prune({ endedBefore, keep, submitsBefore = endedBefore, limit }: PruneOptions): Pruned {
    const { old, windowEnd, removeKeys, keepLastKey, countOver, firstEnded } = this.statements;
    const gone = inTransaction(this.database, () => {
      keepLastKey.run(this.lastKey);
      const { changes: submits } = removeKeys.run(submitsBefore, limit);
      const keys = old.all(this.prunedTo, endedBefore, limit).map((row) => row["key"] as number);
      const end = windowEnd.get(this.prunedTo) as { key: number } | undefined;
      if (keys.length < limit) this.prunedTo = end?.key ?? 0;
      this.remove(keys);
      const beyond = keep === undefined ? 0 : Math.min((countOver.get() as { count: number }).count - keep, limit - keys.length);
      const first = beyond > 0 ? firstEnded.all(beyond).map((row) => row["key"] as number) : [];
      this.remove(first);
      failpoint("prune.deleted");
      const tasks = keys.length + first.length;
      return { tasks, more: Math.max(tasks, Number(submits)) >= limit };
    });
    failpoint("prune.committed");
    return gone;
  }

  private remove(keys: readonly number[]): void {
    const { removeSpec, removeOutcome, removeTask } = this.statements;
    for (const key of keys) {
      removeSpec.run(key);
      removeOutcome.run(key);
      removeTask.run(key);
    }
  }

  private create(tasks: readonly TaskRecord[]): void {
    for (const task of tasks) {
      if (task.key <= this.lastKey) assert.fail(`task key ${task.key} does not follow ${this.lastKey}`);
      this.notePlacement(task);
    }
    this.statements.tasks.run(tasks);
    this.statements.specs.run(tasks);
  }

  private change(task: TaskRecord): void {
    const { placement } = task;
    const known = placement !== undefined && this.placed.get(task.key) === placement;
    const values: Value[] = [];
    putState(task, values);
    if (!known) values.push(toJson(placement));
    const { changes } = (known ? this.statements.updateState : this.statements.updateTask).run(...values, task.key);
    if (changes !== 1) assert.fail(`task ${task.key} is changed but was never created`);
    this.notePlacement(task);
  }

  private notePlacement(task: TaskRecord): void {
    if (task.placement === undefined || isTerminal(task.state)) this.placed.delete(task.key);
    else this.placed.set(task.key, task.placement);
  }

  private writeRest({ attempts = [], keys = [], nodesRemoved = [], nodes = [], tokens = [], tokensRemoved = [], audit = [] }: Batch): void {
    const { statements } = this;
    for (const { task, attempt } of attempts) statements.insertAttempt.run(task, attempt.n, JSON.stringify(attempt));
    for (const { owner, key, bodyHash, runs, at } of keys) statements.writeKey.run(owner, key, bodyHash, JSON.stringify(runs), at);
    for (const id of nodesRemoved) statements.removeNode.run(id);
    for (const node of nodes) statements.writeNode.run(node.id, JSON.stringify(node));
    for (const token of tokens) statements.writeToken.run(token.id, JSON.stringify(token));
    for (const id of tokensRemoved) statements.removeToken.run(id);
    for (const { seq, at, actor, action, object, hash } of audit) statements.insertAudit.run(seq, at, actor, action, object, hash);
  }
}

function prepare(database: DatabaseSync) {
  const settings = STATE_COLUMNS.map((column) => `${column} = ?`).join(", ");
  return {
    claim: database.prepare(
      "INSERT INTO meta (one, cluster, epoch) VALUES (1, ?, 1) ON CONFLICT (one) DO UPDATE SET epoch = epoch + 1 RETURNING cluster, epoch",
    ),
    epoch: database.prepare("SELECT epoch FROM meta"),
    tasks: new Insert(database, "INTO tasks", TASK_ROW, putTask),
    specs: new Insert(database, "INTO specs", SPEC_ROW, putSpec),
    outcomes: new Insert(database, "OR REPLACE INTO outcomes", OUTCOME_ROW, putOutcome),
    updateState: database.prepare(`UPDATE tasks SET ${settings} WHERE key = ?`),
    updateTask: database.prepare(`UPDATE tasks SET ${settings}, placement = ? WHERE key = ?`),
    insertAttempt: database.prepare("INSERT INTO attempts (key, n, attempt) VALUES (?, ?, ?)"),
    writeKey: database.prepare("INSERT OR REPLACE INTO submit_keys (owner, key, body_hash, runs, at) VALUES (?, ?, ?, ?, ?)"),
    writeNode: database.prepare("INSERT OR REPLACE INTO nodes (id, node) VALUES (?, ?)"),
    removeNode: database.prepare("DELETE FROM nodes WHERE id = ?"),
    writeToken: database.prepare("INSERT OR REPLACE INTO tokens (id, token) VALUES (?, ?)"),
    removeToken: database.prepare("DELETE FROM tokens WHERE id = ?"),
    insertAudit: database.prepare("INSERT INTO audit (seq, at, actor, action, object, hash) VALUES (?, ?, ?, ?, ?, ?)"),
    keepLastKey: database.prepare("UPDATE meta SET last_key = ?"),
    removeKeys: database.prepare("DELETE FROM submit_keys WHERE rowid IN (SELECT rowid FROM submit_keys WHERE at < ? LIMIT ?)"),
    old: database.prepare(
      `SELECT key FROM (SELECT key, live, ended_at FROM tasks WHERE key > ? ORDER BY key LIMIT ${ROWS_PRUNED_MAX}) WHERE live <> 1 AND ended_at < ? LIMIT ?`,
    ),
    // These two look at every task, and are asked only where a number to keep is given.
    countOver: database.prepare("SELECT count(*) AS count FROM tasks WHERE live <> 1"),
    firstEnded: database.prepare("SELECT key FROM tasks WHERE live <> 1 AND ended_at IS NOT NULL ORDER BY ended_at, key LIMIT ?"),
    windowEnd: database.prepare(`SELECT key FROM tasks WHERE key > ? ORDER BY key LIMIT 1 OFFSET ${ROWS_PRUNED_MAX - 1}`),
    removeSpec: database.prepare("DELETE FROM specs WHERE key = ?"),
    removeOutcome: database.prepare("DELETE FROM outcomes WHERE key = ?"),
    // Its attempts go with it, by their foreign key.
    removeTask: database.prepare("DELETE FROM tasks WHERE key = ?"),
  };
}

/** Pruned tasks count as well: a key is never given twice. */
export function lastKeyOf(database: DatabaseSync): number {
  const row = database.prepare("SELECT max(ifnull((SELECT last_key FROM meta), 0), ifnull((SELECT max(key) FROM tasks), 0)) AS last").get();
  return (row as { last: number }).last;
}
