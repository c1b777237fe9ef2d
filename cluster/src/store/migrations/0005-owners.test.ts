/** A database of before there were users is brought to the layout in which tasks and submit keys have owners. */
import { DatabaseSync } from "node:sqlite";
import { expect, it } from "vitest";
import { TOKEN } from "../store.fixtures.ts";
import { MIGRATIONS, migrate } from "../sqlite-migrations.ts";
import { TASK_COLUMNS, TASK_JOINS, toRecord, type TaskRow } from "../sqlite-rows.ts";

const BEFORE = 4;

/** Two tokens of one name, one of another; whatever else is named here is a token that is gone. */
const TOKENS = { annannan: "ann", annphone: "ann", bobbobbo: "bob's laptop" };
const SUBMITTED: readonly (readonly [token: string, name: string | null, owner: string])[] = [
  ["annannan", "ann", "ann"],
  ["annphone", null, "ann"],
  ["bobbobbo", null, "bob's laptop"],
  ["gonegone", "cyd", "cyd"],
  ["gonegone", null, ""],
];

it("gives them to the users that tokens were named for, and those of whom nobody knows to nobody", () => {
  const database = new DatabaseSync(":memory:");
  migrate(database, MIGRATIONS.slice(0, BEFORE));
  const { user: _none, ...row } = TOKEN;
  const token = database.prepare("INSERT INTO tokens (id, token) VALUES (?, ?)");
  for (const [id, name] of Object.entries(TOKENS)) token.run(id, JSON.stringify({ ...row, id, name }));
  const task = database.prepare(
    "INSERT INTO tasks (key, state, live, reason, seq, attempt, queued_at, outcome, kind) VALUES (?, 'queued', 1, 'submitted', 1, 1, 1, 0, 'echo')",
  );
  const spec = database.prepare("INSERT INTO specs (key, owner, owner_name, priority, created_at, spec) VALUES (?, ?, ?, 4, 1, '{}')");
  for (const [at, [id, name]] of SUBMITTED.entries()) {
    task.run(at + 1);
    spec.run(at + 1, id, name);
  }
  const key = database.prepare("INSERT INTO submit_keys (owner, key, body_hash, runs, at) VALUES (?, 'task:x', ?, '[]', 1)");
  for (const [at, id] of ["annannan", "annphone", "gonegone"].entries()) key.run(id, `hash ${at}`);

  expect(migrate(database, MIGRATIONS.slice(0, BEFORE + 1))).toBe(1);
  const rows = database.prepare(`SELECT ${TASK_COLUMNS} FROM tasks t ${TASK_JOINS} ORDER BY t.key`).all() as unknown as TaskRow[];
  expect(rows.map(toRecord).map((record) => [record.token, record.owner])).toEqual(SUBMITTED.map(([id, , owner]) => [id, owner]));
  const keys = database.prepare("SELECT owner, body_hash AS hash FROM submit_keys ORDER BY owner").all();
  expect(keys.map(({ owner, hash }) => [owner, hash])).toEqual([
    ["ann", "hash 1"],
    ["gonegone", "hash 2"],
  ]);
});
