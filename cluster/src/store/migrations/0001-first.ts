/**
 * The first layout. Rules that later migrations keep as well:
 * Q1. Keys are integers and only grow, so every insert lands at the end of its table.
 * Q2. What is large is written once, in a table of its own (specs, outcomes); what changes is small (tasks).
 * Q3. Cost does not grow with history: live tasks have an index of their own, and nothing scans finished ones but a bounded list.
 */
export const sql = `
CREATE TABLE meta (
  one INTEGER PRIMARY KEY CHECK (one = 1),
  cluster TEXT NOT NULL,
  epoch INTEGER NOT NULL,
  -- The greatest key that was ever pruned or is older than that; tasks may hold greater ones.
  last_key INTEGER NOT NULL DEFAULT 0
) STRICT;

CREATE TABLE tasks (
  key INTEGER PRIMARY KEY,
  state TEXT NOT NULL,
  -- 1 until it is terminal. The index asks this and not the state: a list of three names is a table built anew for every
  -- row written, and cost 14 of 29 µs per task.
  live INTEGER NOT NULL,
  reason TEXT NOT NULL,
  seq INTEGER NOT NULL,
  attempt INTEGER NOT NULL,
  queued_at INTEGER NOT NULL,
  started_at INTEGER,
  ended_at INTEGER,
  -- Where it runs or last ran.
  node TEXT,
  -- 1: the row in outcomes is this record's; 0: it is an older life's, or there is none.
  outcome INTEGER NOT NULL,
  -- Copies of what the spec says, for lists.
  kind TEXT NOT NULL,
  name TEXT,
  user TEXT,
  labels TEXT,
  -- Lease, counters, due time, progress: NULL for most tasks most of the time. Six columns less to bind are 1 µs.
  rest TEXT,
  placement TEXT
) STRICT;

CREATE INDEX tasks_live ON tasks (key) WHERE live = 1;

-- No foreign keys here and in outcomes: looking the parent up costs 1 µs per task, and one place deletes (sqlite-writes.ts).
CREATE TABLE specs (
  key INTEGER PRIMARY KEY,
  owner TEXT NOT NULL,
  priority INTEGER NOT NULL,
  created_at INTEGER NOT NULL,
  spec TEXT NOT NULL
) STRICT;

CREATE TABLE outcomes (
  key INTEGER PRIMARY KEY,
  result TEXT,
  blob TEXT,
  error TEXT
) STRICT;

CREATE TABLE attempts (
  key INTEGER NOT NULL REFERENCES tasks (key) ON DELETE CASCADE,
  n INTEGER NOT NULL,
  attempt TEXT NOT NULL,
  PRIMARY KEY (key, n)
) STRICT, WITHOUT ROWID;

CREATE TABLE submit_keys (
  owner TEXT NOT NULL,
  key TEXT NOT NULL,
  body_hash TEXT NOT NULL,
  runs TEXT NOT NULL,
  at INTEGER NOT NULL,
  PRIMARY KEY (owner, key)
) STRICT;

CREATE INDEX submit_keys_at ON submit_keys (at);

CREATE TABLE nodes (id TEXT PRIMARY KEY, node TEXT NOT NULL) STRICT, WITHOUT ROWID;
CREATE TABLE tokens (id TEXT PRIMARY KEY, token TEXT NOT NULL) STRICT, WITHOUT ROWID;
`;
