/**
 * F47: a backup of the past is restored while workers hold work of the present. No id is given twice, no attempt from
 * before counts, what may not run twice does not, and whoever may come in still may.
 */
import { readFileSync } from "node:fs";
import { rename, rm, truncate, writeFile } from "node:fs/promises";
import path from "node:path";
import { DatabaseSync } from "node:sqlite";
import type { NodeId, TaskId } from "@openclaw-cluster/contract/ids";
import type { Task } from "@openclaw-cluster/contract/task";
import type { OnLost, TaskSpec } from "@openclaw-cluster/contract/task-spec";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { startCluster, until, untilState, type TestCluster, type TestDaemon } from "../support/daemon.ts";

const COMMANDS = { allow: { commands: [["tee", "-a", "*"]] } };

let cluster: TestCluster;
let one: TestDaemon;
const workers: TestDaemon[] = [];
beforeEach(async () => {
  cluster = await startCluster();
  one = await cluster.addWorker("one", { slots: 8, policy: COMMANDS });
  workers.push(one);
});
afterEach(async () => {
  // They run what never ends, and would wait for it.
  for (const worker of workers.splice(0)) await worker.kill();
  await cluster?.end();
});

const endless: TaskSpec = { kind: "echo", input: { delayMs: 600_000 } };
const numberOf = (id: TaskId): number => Number(id.slice(1));
const get = (id: TaskId): Promise<Task> => cluster.client.getTask({ id });

/** Waits for a node that is not there, until `now` is submitted as its label. */
function effect(name: string, onLost: OnLost): { spec: TaskSpec; times(): number } {
  const file = path.join(cluster.folder, name);
  return {
    spec: { kind: "command", input: { argv: ["tee", "-a", file], stdin: "ran\n" }, onLost, require: { labels: { go: "yes" } } },
    times: () => {
      try {
        return readFileSync(file, "utf8").split("\n").length - 1;
      } catch {
        // It was never written to.
        return 0;
      }
    },
  };
}

const restore = (file: string, ...more: string[]): ReturnType<TestCluster["cli"]> =>
  cluster.cli("restore", file, "--home", cluster.lead.home, "--json", ...more);

/** Everything that can happen between a backup and its restore. */
async function live(): Promise<{
  backup: string;
  running: TaskId;
  ids: Record<OnLost, TaskId>;
  effects: Record<OnLost, () => number>;
  newest: TaskId;
  epoch: number;
}> {
  const { client } = cluster;
  const effects = { retry: effect("may-repeat", "retry"), ask: effect("must-ask", "ask"), fail: effect("must-not", "fail") };
  const running = (await client.submit(endless)).id;
  await untilState(cluster, running, "running");
  const submit = async (onLost: OnLost): Promise<TaskId> => (await client.submit(effects[onLost].spec)).id;
  const ids = { retry: await submit("retry"), ask: await submit("ask"), fail: await submit("fail") };
  const { path: backup, tasks } = await client.backup();
  expect(tasks).toBe(4);

  // After it: all of them run, the long one is started anew as its second attempt, and new tasks and a new term come.
  await client.patchNode({ id: "one" as NodeId, labels: { go: "yes" } });
  for (const id of Object.values(ids)) await untilState(cluster, id, "succeeded");
  await one.kill();
  await one.start();
  await until("its second attempt runs", async () =>
    (await get(running)).attempt === 2 ? untilState(cluster, running, "running") : undefined,
  );
  const { id: newest } = await client.run({ kind: "echo", input: { value: 1 } });
  workers.push(await cluster.addWorker("two", { slots: 8, policy: COMMANDS }));
  const { epoch } = await client.cluster();
  return { backup, running, ids, effects: { retry: effects.retry.times, ask: effects.ask.times, fail: effects.fail.times }, newest, epoch };
}

describe("a backup of the past", () => {
  test("whose database is there: goes on exactly after what was given, and knows whom it may let in", async () => {
    const { backup, running, ids, effects, newest, epoch } = await live();
    const before = await get(running);
    await cluster.lead.kill();
    const dry = await restore(backup, "--dry-run");
    expect(dry.json).toMatchObject({ dryRun: true, known: "exactly", open: { again: 2, asks: 1, fails: 1 } });
    const { json } = await restore(backup);
    expect(json).toMatchObject({ ok: true, tasks: 4, known: "exactly", open: { again: 2, asks: 1, fails: 1 }, lastKey: numberOf(newest) });
    await cluster.lead.start();

    expect(json.epoch).toBeGreaterThan(epoch);
    expect((await cluster.client.cluster()).epoch).toBe(json.epoch);
    expect(numberOf((await cluster.client.submit(endless)).id)).toBe(numberOf(newest) + 1);
    // Both may have run; only the one that may run again does.
    expect(await untilState(cluster, ids.retry, "succeeded")).toMatchObject({ attempt: 2 });
    expect([effects.retry(), effects.ask(), effects.fail()]).toEqual([2, 1, 1]);
    expect(await get(ids.ask)).toMatchObject({ state: "waiting", reason: "asked" });
    expect(await get(ids.fail)).toMatchObject({ state: "failed", reason: "outcome_unknown" });
    // The attempt that ran all the while is none of the present's: it ends, and the next number runs.
    expect(
      await until("a third attempt runs", async () =>
        (await get(running)).attempt === 3 ? untilState(cluster, running, "running") : undefined,
      ),
    ).toMatchObject({ attempt: before.attempt + 1 });
    await until("both are back", async () => ((await cluster.client.nodesOnline()).nodes.length === 2 ? true : undefined));
    for (const { id } of (await cluster.client.nodes()).nodes) {
      const there = await cluster.client.run({ kind: "echo", input: { value: id }, require: { nodes: [id] } });
      expect(there).toMatchObject({ state: "succeeded", result: id });
    }
  });

  test.each([
    [
      "is gone",
      async (file: string) => {
        await rm(file);
        await rm(`${file}-wal`, { force: true });
      },
    ],
    [
      "is damaged",
      async (file: string) => {
        await truncate(`${file}-wal`, 0);
        const bytes = readFileSync(file);
        await writeFile(file, bytes.fill(0xff, 3 * 4_096));
      },
    ],
    [
      "is another cluster's",
      async (file: string) => {
        await rm(file);
        await rm(`${file}-wal`, { force: true });
        await cluster.lead.start();
        await cluster.lead.kill();
      },
    ],
  ])("whose database %s: leaps ahead of whatever was given", async (_what, harm) => {
    const { backup, running, ids, effects, newest, epoch } = await live();
    await cluster.lead.kill();
    await harm(path.join(cluster.lead.home, "data", "cluster.db"));
    const { json } = await restore(backup);
    expect(json).toMatchObject({ ok: true, known: "not", open: { again: 2, asks: 1, fails: 1 } });
    await cluster.lead.start();

    expect((await cluster.client.cluster()).epoch).toBeGreaterThan(epoch);
    const { id: next } = await cluster.client.submit(endless);
    expect(numberOf(next)).toBeGreaterThan(numberOf(newest));
    // What was said of the node since is lost with the database.
    await cluster.client.patchNode({ id: "one" as NodeId, labels: { go: "yes" } });
    // Its worker has seen a later term than any of the backup, and obeys this one all the same.
    expect((await untilState(cluster, next, "running")).node).toBe("one");
    expect((await untilState(cluster, ids.retry, "succeeded")).attempt).toBeGreaterThan(1);
    expect([effects.retry(), effects.ask(), effects.fail()]).toEqual([2, 1, 1]);
    const again = await untilState(cluster, running, "running");
    expect(again.attempt).toBeGreaterThan(2);
    // Events go on after those of every earlier term, as numbers that are exact.
    const leave = new AbortController();
    for await (const event of cluster.client.events({ after: 0, signal: leave.signal })) {
      expect(Number.isSafeInteger(event.id) && event.id > (epoch + 1) * 2 ** 32).toBe(true);
      break;
    }
    leave.abort();
  });
});

test("a restore that is refused changes nothing, and says what to do", async () => {
  const { path: backup } = await cluster.client.backup();
  expect(await restore(backup)).toMatchObject({ code: 1, json: { error: { code: "already_running" } } });
  const { id } = await cluster.client.submit(endless);
  await cluster.lead.stop();
  const file = path.join(cluster.lead.home, "data", "cluster.db");
  const before = readFileSync(file);

  const broken = path.join(cluster.folder, "broken.db");
  const whole = readFileSync(backup);
  const refusals: [string, Buffer | string, RegExp][] = [
    ["empty", "", /empty, or another program's/],
    ["no database", "not a database at all".repeat(500), /cannot be restored/],
    ["torn", Buffer.concat([whole.subarray(0, 3 * 4_096), Buffer.alloc(4 * 4_096, 0xff), whole.subarray(7 * 4_096)]), /cannot be restored/],
    ["cut off", whole.subarray(0, 5 * 4_096), /cannot be restored/],
  ];
  for (const [what, content, told] of refusals) {
    await writeFile(broken, content);
    expect(await restore(broken), what).toMatchObject({
      code: 1,
      json: { error: { code: "store_unreadable", detail: expect.stringMatching(told) } },
    });
  }
  await writeFile(broken, whole);
  const newer = new DatabaseSync(broken);
  newer.exec("PRAGMA user_version = 99");
  newer.close();
  expect((await restore(broken)).json.error.detail).toMatch(/layout 99.*newer version/);
  expect(await restore("no-such-file.db")).toMatchObject({ code: 2, json: { error: { code: "usage" } } });
  expect(await restore(backup, "--dry-run")).toMatchObject({ code: 0, json: { dryRun: true } });
  expect(readFileSync(file).equals(before)).toBe(true);
  await cluster.lead.start();
  expect(await get(id)).toMatchObject({ id });
});

test("backups: a name is enough, the list is the folder's, and only so many are kept", async () => {
  const { client } = cluster;
  const taken = [];
  for (let n = 0; n < 9; n += 1) taken.push((await client.backup()).name);
  const { backups } = await client.backups();
  expect(backups.map(({ name }) => name)).toEqual(taken.toReversed().slice(0, 7));
  expect((await client.cluster()).store.backup).toEqual({ at: backups[0]?.at, bytes: backups[0]?.bytes });
  const listed = await cluster.cli("backup", "list", "--json");
  expect(listed.json.backups).toEqual(backups);
  expect((await cluster.cli("status")).stdout).toMatch(/^store +sqlite, .*, backup \d+s old$/m);

  await cluster.lead.stop();
  // One that was copied elsewhere and came back under its name.
  const folder = path.join(cluster.lead.home, "backups");
  await rename(path.join(folder, taken[8] as string), path.join(cluster.folder, "elsewhere.db"));
  expect((await cluster.cli("restore", "--home", cluster.lead.home, "--json")).json.backups).toHaveLength(6);
  expect(await restore(taken[7] as string)).toMatchObject({ code: 0 });
  expect(await restore(path.join(cluster.folder, "elsewhere.db"))).toMatchObject({ code: 0 });
  await cluster.lead.start();
});
