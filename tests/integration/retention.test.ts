/** Finished tasks beyond a number go, through the coordinator, on every store. */
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import path from "node:path";
import { taskKey, type TaskId } from "@openclaw-cluster/contract/ids";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { openEtcdStore } from "../../cluster/src/store/etcd.ts";
import { openRamStore } from "../../cluster/src/store/ram.ts";
import { openSqliteStore } from "../../cluster/src/store/sqlite.ts";
import type { Store } from "../../cluster/src/store/store.ts";
import { silentLog } from "../../cluster/src/system/log.ts";
import { until } from "../support/daemon.ts";
import { startTestEtcd, type TestEtcd } from "../support/etcd.ts";
import { HandClock } from "../support/hand-clock.ts";
import { startRamCluster } from "../support/ram-cluster.ts";

const KEEP = 30;
/** More than one go takes. */
const MANY = 2_300;
const ARRAY = 500;
const LOOK_MS = 1_000;

let etcd: TestEtcd;
let folder: string;
beforeAll(async () => {
  etcd = await startTestEtcd();
  folder = await mkdtemp(path.join(tmpdir(), "ocx-retention-"));
}, 60_000);
afterAll(async () => {
  await etcd?.stop();
  await rm(folder, { recursive: true, force: true });
});

const STORES: Record<string, () => Promise<Store>> = {
  ram: async () => openRamStore(),
  sqlite: () => openSqliteStore({ path: path.join(folder, "tasks.db"), backups: folder, log: silentLog }),
  etcd: () => openEtcdStore({ client: etcd.client, prefix: etcd.prefix() }),
};

/** Cancelled before anybody ran them. */
async function endTasks(cluster: Awaited<ReturnType<typeof startRamCluster>>, count: number): Promise<TaskId[]> {
  const ids: TaskId[] = [];
  for (let left = count; left > 0; left -= ARRAY) {
    const specs = Array.from({ length: Math.min(ARRAY, left) }, () => ({ kind: "echo" as const, input: {} }));
    const made = await cluster.coordinator.submit({ owner: "me", specs });
    ids.push(...made.map(({ id }) => id));
    await Promise.all(made.map(({ id }) => cluster.coordinator.cancel(id)));
  }
  return ids;
}

describe.each(Object.keys(STORES))("%s", (kind) => {
  test("keeps the newest of them, and goes on until no more are there", { timeout: 120_000 }, async () => {
    const store = await (STORES[kind] as () => Promise<Store>)();
    const clock = new HandClock();
    const cluster = await startRamCluster({ store, clock, retentionTasks: KEEP });
    try {
      const ended = await endTasks(cluster, MANY);
      const [waiting] = await cluster.coordinator.submit({ owner: "me", specs: [{ kind: "echo", input: {} }] });
      const finished = async (): Promise<number | undefined> => (await store.load()).counts.cancelled;
      expect(await finished()).toBe(MANY);
      await until("the tasks beyond the number are gone", async () => {
        clock.advance(LOOK_MS);
        return (await finished()) === KEEP ? true : undefined;
      });
      const [oldest, newest] = [ended[0], ended.at(-1)] as [TaskId, TaskId];
      expect(await store.task(taskKey(oldest))).toBeUndefined();
      expect(await store.task(taskKey(newest))).toMatchObject({ state: "cancelled" });
      expect((await store.load()).counts).toStrictEqual({ cancelled: KEEP, queued: 1 });
      expect(await cluster.coordinator.task(waiting!.id)).toMatchObject({ state: "queued" });
    } finally {
      await cluster.stop();
    }
  });
});
