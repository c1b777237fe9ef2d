/** A whole store carried from etcd into SQLite and back: a backup is one such copy, a migration another. */
import { mkdtempSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import fc from "fast-check";
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from "vitest";
import type { ClusterId } from "@openclaw-cluster/contract/ids";
import { startTestEtcd, type TestEtcd } from "../../../tests/support/etcd.ts";
import { systemClock } from "../system/clock.ts";
import { silentLog } from "../system/log.ts";
import { openEtcdTarget } from "./etcd-target.ts";
import { expectTidy } from "./etcd.fixtures.ts";
import { openEtcdStore, type EtcdStore } from "./etcd.ts";
import { sqliteSource } from "./sqlite-copy.ts";
import { openDatabase } from "./sqlite-open.ts";
import { openSqliteStore } from "./sqlite.ts";
import { copyInto } from "./store-copy.ts";
import { FULL, NODE_ROW, queued, succeeded } from "./store.fixtures.ts";
import { steps } from "./store.histories.ts";
import { compare, Model, play } from "./store.model.ts";
import type { Store } from "./store.ts";

let etcd: TestEtcd;
let folder: string;
beforeAll(async () => {
  etcd = await startTestEtcd();
});
afterAll(() => etcd.stop());
beforeEach(() => (folder = mkdtempSync(join(tmpdir(), "copy-"))));

const opened: Store[] = [];
afterEach(async () => {
  for (const store of opened.splice(0)) await store.close();
  rmSync(folder, { recursive: true });
});

/** Folds, and forgets old revisions, all the time. */
const HASTY = { clock: { ...systemClock, after: (ms: number, run: () => void) => systemClock.after(Math.min(ms, 20), run) } };

async function inEtcd(prefix = etcd.prefix(), options = {}): Promise<EtcdStore> {
  const store = await openEtcdStore({ client: etcd.client, prefix, ...options });
  opened.push(store);
  return store;
}

async function inSqlite(path: string): Promise<Store> {
  const store = await openSqliteStore({ path });
  opened.push(store);
  return store;
}

it("of any history is the same, there and back", { timeout: 120_000 }, async () => {
  let copies = 0;
  await fc.assert(
    fc.asyncProperty(steps, async (history) => {
      const store = await inEtcd();
      const model = new Model();
      const { cluster, epoch } = await store.claim();
      model.epoch = epoch;
      for (const step of history) await play(model, store, step, async () => store);
      const path = join(folder, `${(copies += 1)}.db`);
      await store.backup(path);
      const sqlite = await inSqlite(path);
      await compare(model, sqlite, {});
      expect(await sqlite.claim()).toStrictEqual({ cluster, epoch: model.epoch + 1 });
      await sqlite.close();

      const prefix = etcd.prefix();
      const database = await openDatabase({ path, log: silentLog });
      const target = await openEtcdTarget({ client: etcd.client, prefix, cluster });
      expect(await copyInto(target, sqliteSource(database))).toBe(model.tasks.size);
      await target.enter();
      await target.close();
      database.close();
      const back = await inEtcd(prefix);
      await compare(model, back, {});
      await expectTidy(etcd.client, prefix, model);
      expect(await back.claim()).toStrictEqual({ cluster, epoch: model.epoch + 2 });
    }),
    { numRuns: 12 },
  );
});

describe("a backup", () => {
  it("is of one moment, taken while the store works, folds, prunes and compacts", { timeout: 120_000 }, async () => {
    const store = await inEtcd(etcd.prefix(), HASTY);
    const { epoch } = await store.claim();
    const COUNT = 2_000;
    await store.commit({ epoch, nodes: [NODE_ROW], created: Array.from({ length: COUNT }, (_, at) => queued(at + 1)) });
    let commits = 0;
    for (const round of [1, 2, 3]) {
      const path = join(folder, `${round}.db`);
      let isDone = false;
      const before = commits;
      const running = store.backup(path).finally(() => (isDone = true));
      while (!isDone) {
        commits += 1;
        const changed = Array.from({ length: 100 }, (_, at) => queued(1 + at * 20, { seq: 1 + commits }));
        // One task more, and a hundred others that tell how many there are; and one that is over and goes.
        await store.commit({ epoch, created: [queued(COUNT + commits * 2), succeeded(queued(COUNT + commits * 2 + 1), 1)], changed });
        if (commits % 5 === 0) await store.prune({ endedBefore: 2, limit: 1_000 });
      }
      await running;
      const { live } = await (await inSqlite(path)).load();
      const told = new Set(live.filter(({ seq }) => seq > 1).map(({ seq }) => seq));
      expect(live.length - COUNT).toBeGreaterThanOrEqual(before);
      expect(told).toStrictEqual(new Set(live.length === COUNT ? [] : [1 + live.length - COUNT]));
    }
  });

  it("never overwrites a file, is the only one at a time, and leaves nothing behind when it fails", async () => {
    const store = await inEtcd();
    const { epoch } = await store.claim();
    await store.commit({ epoch, created: [FULL] });
    const path = join(folder, "there.db");
    writeFileSync(path, "precious");
    await expect(store.backup(path)).rejects.toMatchObject({ code: "bad_request" });
    await expect(store.backup(join(path, "1.db"))).rejects.toMatchObject({ code: "internal" });
    const [first, second] = [store.backup(join(folder, "1.db")), store.backup(join(folder, "2.db"))];
    await expect(second).rejects.toMatchObject({ code: "state_conflict" });
    await first;
    expect(readdirSync(folder).sort()).toStrictEqual(["1.db", "there.db"]);
    await store.backup(join(folder, "3.db"));
  });
});

it("that was cut off is no store, and is begun again; a store that is there is not written over", async () => {
  const prefix = etcd.prefix();
  const cluster = "abcdefgh" as ClusterId;
  const options = { client: etcd.client, prefix, cluster };
  const half = await openEtcdTarget(options);
  await half.write({ created: [queued(1), queued(2)] });
  const store = await inEtcd(prefix);
  await expect(store.claim()).rejects.toMatchObject({ code: "store_unreadable" });
  const again = await openEtcdTarget(options);
  await expect(half.write({ created: [queued(3)] })).rejects.toThrow();
  await half.close();
  await again.write({ created: [queued(1)] });
  await again.finish({ cluster, epoch: 41, lastKey: 9 });
  await expect(store.claim()).rejects.toMatchObject({ code: "store_unreadable" });
  await again.enter();
  await again.enter();
  await again.close();
  await expect(openEtcdTarget(options)).rejects.toMatchObject({ code: "state_conflict" });
  expect(await store.claim()).toStrictEqual({ cluster: "abcdefgh", epoch: 42 });
  expect(await store.load()).toMatchObject({ live: [queued(1)], lastKey: 9 });
});
