/** What holds for the SQLite store beyond the door's contract: its file, its claim on it, its limits, its failures. */
import {
  closeSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  openSync,
  readFileSync,
  readdirSync,
  rmSync,
  statSync,
  truncateSync,
  writeFileSync,
  writeSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { DatabaseSync } from "node:sqlite";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import type { NodeId } from "@openclaw-cluster/contract/ids";
import { Reason } from "@openclaw-cluster/contract/task";
import { isDead, type TaskRecord } from "../core/task.ts";
import { silentLog } from "../system/log.ts";
import { sql as first } from "./migrations/0001-first.ts";
import { MIGRATIONS, migrate } from "./sqlite-migrations.ts";
import { assertSafeVersion, openDatabase } from "./sqlite-open.ts";
import { PAGE_CHARS_MAX, ROWS_SCANNED_MAX } from "./sqlite-reads.ts";
import { openSqliteStore, storeOver } from "./sqlite.ts";
import { queued } from "./store.fixtures.ts";
import { walk } from "./store.model.ts";
import { StoreBroken, type Store } from "./store.ts";

let folder: string;
let path: string;
const open: Store[] = [];
const databases: DatabaseSync[] = [];

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "store-"));
  path = join(folder, "data", "cluster.db");
});
afterEach(async () => {
  for (const store of open.splice(0)) await store.close();
  for (const database of databases.splice(0)) if (database.isOpen) database.close();
  rmSync(folder, { recursive: true });
});

async function start(at = path): Promise<Store> {
  const store = await openSqliteStore({ path: at });
  open.push(store);
  return store;
}

/** A store whose connection the test can reach, to bring about what only a disk can. */
async function startOver(): Promise<{ store: Store; database: DatabaseSync }> {
  const database = await openDatabase({ path, log: silentLog });
  databases.push(database);
  return { store: storeOver(database, path), database };
}

async function fill(store: Store, count: number, value = "x"): Promise<number> {
  const { epoch } = await store.claim();
  const { lastKey } = await store.load();
  const created = Array.from({ length: count }, (_, index) => queued(lastKey + 1 + index, { spec: { kind: "echo", input: { value } } }));
  await store.commit({ epoch, created });
  return epoch;
}

describe("the file", () => {
  it("is for its owner only, and needs no shared memory", async () => {
    const store = await start();
    await fill(store, 1);
    expect(readdirSync(join(folder, "data")).sort()).toStrictEqual(["cluster.db", "cluster.db-wal"]);
    if (process.platform !== "win32") {
      expect(statSync(path).mode & 0o777).toBe(0o600);
      expect(statSync(`${path}-wal`).mode & 0o777).toBe(0o600);
    }
    expect(await store.bytes()).toBe(statSync(path).size + statSync(`${path}-wal`).size);
  });

  it("has one owner at a time, and a free one after close", async () => {
    const first = await start();
    await expect(start()).rejects.toMatchObject({ code: "already_running" });
    await fill(first, 1);
    await first.close();
    expect((await (await start()).load()).lastKey).toBe(1);
  });

  it("is finished when its making was cut short, before or after the first page", async () => {
    const draft = `${path}.new`;
    mkdirSync(join(folder, "data"));
    const interrupted = [async () => writeFileSync(draft, ""), async () => (await start(draft)).close()];
    for (const cutShort of interrupted) {
      await cutShort();
      const store = await start();
      await fill(store, 1);
      await store.close();
      expect(readdirSync(join(folder, "data"))).toStrictEqual(["cluster.db"]);
      rmSync(path);
    }
  });

  it("is refused, and left as it is, when it is damaged, another program's, or gone beside its log", async () => {
    const store = await start();
    await fill(store, 2_000);
    await store.close();
    const whole = readFileSync(path);
    const torn = Buffer.from(whole);
    torn.fill(0xff, 16 * 4_096, 24 * 4_096);
    const foreign = join(folder, "foreign.db");
    const other = new DatabaseSync(foreign);
    other.exec("CREATE TABLE notes (text)");
    other.close();
    const contents = [
      Buffer.alloc(0),
      Buffer.from("not a database at all".repeat(500)),
      torn,
      whole.subarray(0, 20 * 4_096),
      readFileSync(foreign),
    ];
    for (const content of contents) {
      writeFileSync(path, content);
      await expect(start()).rejects.toMatchObject({ code: "store_unreadable", detail: expect.stringMatching(/damaged.*left as it is/) });
      expect(readFileSync(path)).toStrictEqual(content);
    }
    rmSync(path);
    writeFileSync(`${path}-wal`, "x");
    await expect(start()).rejects.toMatchObject({ code: "store_unreadable", detail: expect.stringMatching(/its log .* is there/) });
    expect(existsSync(path)).toBe(false);
  });

  it("is refused when a newer program wrote it", async () => {
    await (await start()).close();
    const newer = new DatabaseSync(path);
    newer.exec("PRAGMA user_version = 99");
    newer.close();
    await expect(start()).rejects.toMatchObject({ code: "store_unreadable", detail: expect.stringMatching(/layout 99.*newer version/) });
  });

  it("cannot be where no file can be", async () => {
    writeFileSync(join(folder, "data"), "a file, not a folder");
    await expect(start()).rejects.toMatchObject({ code: "config_invalid" });
  });
});

describe("migrations", () => {
  it("are each done whole or not at all, and go on where they stopped", () => {
    const database = new DatabaseSync(join(folder, "m.db"));
    databases.push(database);
    const [one, two] = ["CREATE TABLE one (a)", "CREATE TABLE two (a)"];
    expect(() => migrate(database, [one as string, `${two}; INSERT INTO nowhere VALUES (1)`])).toThrow(/nowhere/);
    const tables = (): unknown[] =>
      database
        .prepare("SELECT name FROM sqlite_schema")
        .all()
        .map((row) => row["name"]);
    expect(tables()).toStrictEqual(["one"]);
    expect(migrate(database, [one as string, two as string])).toBe(1);
    expect(migrate(database, [one as string, two as string])).toBe(0);
    expect(tables()).toStrictEqual(["one", "two"]);
  });

  it("0002 marks the dead letters of a database that is older than their index", () => {
    const database = new DatabaseSync(join(folder, "m.db"));
    databases.push(database);
    migrate(database, [first]);
    const insert = database.prepare(
      "INSERT INTO tasks (key, state, live, reason, seq, attempt, queued_at, outcome, kind) VALUES (?, ?, ?, ?, 1, 1, 1, 0, 'echo')",
    );
    for (const [at, reason] of Reason.options.entries()) insert.run(at + 1, "failed", 0, reason);
    insert.run(98, "succeeded", 0, "done");
    insert.run(99, "queued", 1, "node_lost");
    expect(migrate(database, MIGRATIONS.slice(0, 2))).toBe(1);
    const marks = database.prepare("SELECT state, reason, live FROM tasks").all() as unknown as (TaskRecord & { live: number })[];
    for (const { state, reason, live } of marks)
      expect([state, reason, live]).toStrictEqual([state, reason, isDead({ state, reason }) ? 2 : state === "queued" ? 1 : 0]);
  });
});

describe("SQLite's version", () => {
  it("is one without the fault in restarting the log", () => {
    for (const good of ["3.44.6", "3.50.7", "3.51.3", "3.52.0", "3.53.4", process.versions["sqlite"]])
      expect(() => assertSafeVersion(good)).not.toThrow();
    for (const bad of ["3.44.5", "3.45.9", "3.50.6", "3.51.2", "4.0.0", "", undefined]) {
      expect(() => assertSafeVersion(bad), bad).toThrow(expect.objectContaining({ code: "config_invalid" }));
    }
  });
});

it("pruning leaves no row behind", async () => {
  const { store, database } = await startOver();
  const epoch = await fill(store, 1);
  const failed = queued(1, { state: "failed", endedAt: 5, error: { code: "node_lost", message: "gone" } });
  const attempt = { n: 1, node: "studio" as NodeId, epoch, state: "ended" as const, offeredAt: 1 };
  await store.commit({ epoch, changed: [failed], attempts: [{ task: 1, attempt }] });
  expect(await store.prune({ endedBefore: 6, limit: 1 })).toMatchObject({ tasks: 1 });
  for (const table of ["tasks", "specs", "outcomes", "attempts"])
    expect(database.prepare(`SELECT * FROM ${table}`).all(), table).toStrictEqual([]);
});

describe("a page", () => {
  it("ends after a bounded search, and says where to go on", async () => {
    const store = await start();
    const epoch = await fill(store, 2 * ROWS_SCANNED_MAX + 10);
    await store.commit({ epoch, changed: [queued(4, { state: "failed" })] });
    expect(await store.list({ states: ["failed"] }, { limit: 5 })).toStrictEqual({ tasks: [], next: ROWS_SCANNED_MAX + 11 });
    expect((await walk(store, { states: ["failed"] }, 5)).map(({ key }) => key)).toStrictEqual([4]);
  });

  it("of live tasks is found without a search through history", async () => {
    const store = await start();
    const epoch = await fill(store, ROWS_SCANNED_MAX + 10);
    const over = (_: unknown, index: number) => queued(11 + index, { state: "failed" });
    await store.commit({ epoch, changed: Array.from({ length: ROWS_SCANNED_MAX }, over) });
    expect((await store.list({ states: ["queued"], kind: "echo" }, { limit: 2 })).tasks.map(({ key }) => key)).toStrictEqual([10, 9]);
  });

  it("of dead letters is found without a search through history", async () => {
    const store = await start();
    const epoch = await fill(store, ROWS_SCANNED_MAX + 10);
    const over = (_: unknown, index: number) => queued(3 + index, { state: "failed", reason: "deadline_passed" });
    const changed = [queued(2, { state: "failed", reason: "poison" })];
    await store.commit({ epoch, changed: [...changed, ...Array.from({ length: ROWS_SCANNED_MAX }, over)] });
    const page = await store.list({ dead: true, kind: "echo" }, { limit: 2 });
    expect([page.tasks.map(({ key }) => key), page.next]).toStrictEqual([[2], undefined]);
    // Run again by hand it is none any more.
    await store.commit({ epoch, changed: [queued(2, { reason: "retried_by_hand" })] });
    expect(await store.list({ dead: true }, { limit: 2 })).toStrictEqual({ tasks: [] });
  });

  it("ends when its tasks grow large", async () => {
    const store = await start();
    await fill(store, 5, "x".repeat(PAGE_CHARS_MAX / 2 + 1));
    const page = await store.list({}, { limit: 5 });
    expect(page.tasks.map(({ key }) => key)).toStrictEqual([5, 4]);
    expect((await walk(store, {}, 5)).map(({ key }) => key)).toStrictEqual([5, 4, 3, 2, 1]);
  });
});

describe("failures", () => {
  it("a full disk refuses the batch and nothing else", async () => {
    const { store, database } = await startOver();
    const epoch = await fill(store, 10);
    database.exec("PRAGMA max_page_count = 1"); // Means: not one page more than now.
    const large = Array.from({ length: 500 }, (_, index) =>
      queued(11 + index, { spec: { kind: "echo", input: { value: "x".repeat(500) } } }),
    );
    await expect(store.commit({ epoch, created: large })).rejects.toMatchObject({ code: "storage_full" });
    expect((await store.load()).live).toHaveLength(10);
    expect(await store.task(11)).toBeUndefined();
    await store.commit({ epoch, changed: [queued(1, { seq: 2 })] });
    database.exec("PRAGMA max_page_count = 1000000");
    await store.commit({ epoch, created: large });
    expect((await store.load()).lastKey).toBe(510);
  });

  it("a disk that fails breaks the store for good", async () => {
    const { store, database } = await startOver();
    const epoch = await fill(store, 100);
    truncateSync(`${path}-wal`, 0);
    database.exec("PRAGMA shrink_memory");
    await expect(store.task(1)).rejects.toThrow(StoreBroken);
    await expect(store.commit({ epoch, created: [queued(101)] })).rejects.toThrow(StoreBroken);
    await expect(store.backup(join(folder, "b.db"))).rejects.toThrow(StoreBroken);
    await store.close();
    expect(database.isOpen).toBe(true);
  });

  it("a page that goes bad while the store works breaks it as well", async () => {
    const { store, database } = await startOver();
    await fill(store, 2_000);
    database.exec("PRAGMA wal_checkpoint(TRUNCATE); PRAGMA shrink_memory");
    const file = openSync(path, "r+");
    writeSync(file, Buffer.alloc(statSync(path).size - 4_096, 0xff), 0, undefined, 4_096);
    closeSync(file);
    await expect(store.load()).rejects.toThrow(StoreBroken);
  });
});

describe("a backup", () => {
  it("is a whole store as of its end, taken while commits go on", async () => {
    const store = await start();
    const count = 5_000;
    const epoch = await fill(store, count, "x".repeat(300));
    let commits = 0;
    for (let round = 0; round < 5; round += 1) {
      const copy = join(folder, `backup-${round}.db`);
      let done = false;
      const running = store.backup(copy).finally(() => (done = true));
      while (!done) {
        commits += 1;
        // One task more, and a hundred others changed to tell how many there are.
        const changed = Array.from({ length: 100 }, (_, index) => queued(1 + index * 50, { seq: 1 + commits }));
        await store.commit({ epoch, created: [queued(count + commits)], changed });
        await new Promise(setImmediate);
      }
      await running;
      const restored = await start(copy);
      const { live } = await restored.load();
      expect(live.length).toBeGreaterThan(count);
      expect(new Set(live.filter(({ seq }) => seq > 1).map(({ seq }) => seq))).toStrictEqual(new Set([1 + live.length - count]));
      await restored.commit({ epoch: (await restored.claim()).epoch, created: [queued(100_000)] });
    }
    expect(readdirSync(folder).filter((name) => name.endsWith(".partial"))).toStrictEqual([]);
  });

  it("never overwrites a file, and leaves nothing behind when it fails", async () => {
    const store = await start();
    await fill(store, 10);
    const copy = join(folder, "backup.db");
    writeFileSync(copy, "precious");
    await expect(store.backup(copy)).rejects.toMatchObject({ code: "bad_request" });
    await expect(store.backup(path)).rejects.toMatchObject({ code: "bad_request" });
    expect(readFileSync(copy, "utf8")).toBe("precious");
    await expect(store.backup(join(folder, "no", "such", "folder.db"))).rejects.toMatchObject({ code: "internal" });
    const [first, second] = [store.backup(join(folder, "1.db")), store.backup(join(folder, "2.db"))];
    await expect(second).rejects.toMatchObject({ code: "state_conflict" });
    await store.close();
    await first;
    expect(readdirSync(folder).sort()).toStrictEqual(["1.db", "backup.db", "data"]);
  });
});
