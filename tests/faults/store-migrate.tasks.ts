/** What the store of store-migrate.child.ts holds after each of its commits: worked out anew by whoever checks it. */
import type { Rows } from "../../cluster/src/store/store.ts";
import { ATTEMPT, NODE_ROW, queued, succeeded } from "../../cluster/src/store/store.fixtures.ts";
import type { TaskRecord } from "../../cluster/src/core/task.ts";

/** There before anything arrives. */
/** In CI a fifth of what is promised: `MIGRATE_TASKS=100000` in the environment for all of it, which takes some minutes. */
export const SEEDED = Number(process.env["MIGRATE_TASKS"] ?? 20_000);
const SEEDED_QUEUED_EVERY = 20;
/** So many commits after it was made, a task is over. */
const DONE_AFTER = 5;
const ATTEMPT_EVERY = 3;
const TEXT = "It may be any text. ".repeat(10);

function made(key: number): TaskRecord {
  return queued(key, { createdAt: key, queuedAt: key, spec: { kind: "echo", input: { value: `${key} ${TEXT}` } } });
}

/** From `first` to `last` of those that are there from the beginning. */
export function seeded(first: number, last: number): Rows {
  const created = Array.from({ length: last - first + 1 }, (_, at) => made(first + at));
  return { created: created.map((task) => (task.key % SEEDED_QUEUED_EVERY === 0 ? task : succeeded(task, task.key))) };
}

/** The commit that makes task `key`. */
export function arriving(key: number): Rows {
  const over = key - DONE_AFTER;
  const seq = key - SEEDED;
  return {
    created: [made(key)],
    ...(over > SEEDED && { changed: [succeeded(made(over), key)] }),
    ...(over > SEEDED && over % ATTEMPT_EVERY === 0 && { attempts: [{ task: over, attempt: ATTEMPT }] }),
    keys: [{ owner: "ann", key: `k${key}`, bodyHash: "hash", runs: [[key, 1]], at: key }],
    nodes: [{ ...NODE_ROW, succeeded: key }],
    audit: [{ seq, at: key, actor: "test", action: "token.made", object: "token", hash: `hash ${seq}` }],
  };
}

/** All that is there after the commit that made task `last`, each row as it is then, in pieces. */
export function* expected(last: number): Generator<Rows> {
  for (let first = 1; first <= SEEDED; first += 1_000) yield seeded(first, Math.min(SEEDED, first + 999));
  for (let key = SEEDED + 1; key <= last; key += 1) {
    const rows = arriving(key);
    const later = key + DONE_AFTER <= last ? arriving(key + DONE_AFTER).changed : rows.created;
    yield {
      created: later ?? [],
      ...(rows.attempts !== undefined && { attempts: rows.attempts }),
      ...(rows.keys !== undefined && { keys: rows.keys }),
      ...(rows.audit !== undefined && { audit: rows.audit }),
      ...(key === last && rows.nodes !== undefined && { nodes: rows.nodes }),
    };
  }
}
