/**
 * F07, F02: the process dies at every failpoint of the list, is started again, and what clients were told holds. A
 * failpoint that was never passed leaves its process alive, and so fails its test.
 */
import { cp, readdir, readFile, rename, rm } from "node:fs/promises";
import path from "node:path";
import type { ClusterError } from "@openclaw-cluster/contract/errors";
import type { NodeId } from "@openclaw-cluster/contract/ids";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { CRASH_AT, type Failpoint } from "../../cluster/src/system/failpoint.ts";
import { createNodeKeys } from "../../cluster/src/trust/keys.ts";
import { MIGRATIONS } from "../../cluster/src/store/sqlite-migrations.ts";
import { openSqliteStore } from "../../cluster/src/store/sqlite.ts";
import { IDENTITY_COPIES } from "../../cluster/src/compose/identity.ts";
import { listBackups } from "../../cluster/src/system/backup-files.ts";
import { run, type Running } from "../../scripts/child.ts";
import { runCommand, type Manner } from "../../scripts/daemon.ts";
import { newTask, settled } from "../integration/sqlite-crash.tasks.ts";
import { startCluster, startPair, until, type TestCluster, type TestDaemon } from "../support/daemon.ts";
import { LOAD_POLICY, MixedLoad } from "../support/mixed-load.ts";
import { LAYOUTS, OLD_UNTIL, TASKS } from "./failpoints.layouts.ts";

const STRIKE_MS = 30_000;

let cluster: TestCluster;
let one: TestDaemon;
let two: TestDaemon;
let load: MixedLoad;
beforeAll(async () => {
  ({ cluster, one, two } = await startPair({ slots: 8, policy: LOAD_POLICY }));
  load = new MixedLoad(cluster);
});
afterAll(() => cluster?.end());

const armed = (name: Failpoint, pass = 1): { env: Record<string, string> } => ({ env: { [CRASH_AT]: `${name}:${pass}` } });

/** The daemon was killed, and by nothing else than the failpoint: nobody here has sent it a signal. */
async function struck(daemon: TestDaemon): Promise<void> {
  const late = new Promise<never>((_, reject) => {
    setTimeout(() => reject(new Error("the failpoint was never passed")), STRIKE_MS).unref();
  });
  expect(await Promise.race([daemon.ended(), late])).toMatchObject({ code: null });
}

/** Kills the daemon and starts it armed, under a load of which `strike` may do more; gives it back to life and checks. */
async function strikeAt(manner: Manner, daemon: TestDaemon, strike: () => Promise<void> = () => Promise.resolve()): Promise<string[]> {
  await daemon.kill();
  await daemon.start(manner);
  await until("both nodes are back", async () => {
    const { nodes } = await cluster.client.nodes();
    return ["one", "two"].every((id) => nodes.some((node) => node.id === id && node.state === "ready")) ? true : undefined;
  });
  const sent = load.start();
  await Promise.all([strike(), struck(daemon)]);
  await daemon.start();
  await sent;
  return load.broken();
}

/** Dies while it starts, with work open from before. */
async function strikeStart(name: Failpoint, daemon: TestDaemon): Promise<string[]> {
  const sent = load.start();
  await load.someAnswered();
  await daemon.kill();
  await expect(daemon.start(armed(name))).rejects.toThrow(/ended/);
  await daemon.start();
  await sent;
  return load.broken();
}

/** Dies in the first start of a new home; the second one is a first start again, or goes on. */
async function strikeFirstStart(name: Failpoint): Promise<string[]> {
  const fresh = await startCluster({}, { first: armed(name) });
  try {
    await fresh.addWorker("only");
    const { state } = await fresh.client.run({ kind: "echo", input: { value: name } });
    return state === "succeeded" ? [] : [`an echo is ${state}`];
  } finally {
    await fresh.end();
  }
}

let enrolments = 0;
/** A node is let in; the caller, who was not answered, asks again. */
async function strikeEnrol(name: Failpoint): Promise<string[]> {
  const id = `extra${(enrolments += 1)}` as NodeId;
  const { publicKey } = createNodeKeys();
  await strikeAt(armed(name), cluster.lead, async () => {
    await expect(cluster.client.enrol({ id, publicKey })).rejects.toMatchObject({ code: "coordinator_unreachable" });
  });
  await cluster.client.enrol({ id, publicKey });
  load.promises.enrolled(id);
  return load.broken();
}

let members = 0;
/** A machine that has come in with a code, so that its key alone speaks for it. */
async function joinedMember(): Promise<TestDaemon> {
  const id = `member${(members += 1)}`;
  const home = path.join(cluster.folder, id);
  const { code } = (await cluster.cli("invite", "--approve", "--json")).json as { code: string };
  expect(await there(home, ["join", "--no-start", code, "--node-id", id]).ended()).toMatchObject({ code: 0 });
  await there(home, ["config", "set", "openclaw.enabled", "off"]).ended();
  return cluster.startHome(home);
}

const there = (home: string, argv: readonly string[], manner: Manner = {}): Running =>
  runCommand(argv, { ...manner, env: { ...manner.env, OPENCLAW_CLUSTER_HOME: home } });

/** What a member runs for it alone succeeds there. */
async function worksAt({ home }: TestDaemon): Promise<string[]> {
  const node = path.basename(home) as NodeId;
  const { state } = await cluster.client.run({ kind: "echo", input: { value: 1 }, require: { nodes: [node] } });
  return state === "succeeded" ? [] : [`an echo on ${node} is ${state}`];
}

/** The command dies at the failpoint; its daemon works on, also after a restart, and the command says so when it is given again. */
async function strikeRotation(name: Failpoint): Promise<string[]> {
  const member = await joinedMember();
  const seed = () => readFile(path.join(member.home, "node.seed"), "utf8");
  const before = await seed();
  expect(await there(member.home, ["rotate"], armed(name)).ended()).toMatchObject({ code: null });
  const broken = await worksAt(member);
  await member.stop();
  await member.start();
  broken.push(...(await worksAt(member)));
  expect(await there(member.home, ["rotate"]).ended()).toMatchObject({ code: 0 });
  broken.push(...(await worksAt(member)));
  if ((await seed()) === before) broken.push("the old key is still there");
  await member.stop();
  await member.start();
  broken.push(...(await worksAt(member)));
  await member.stop();
  return broken;
}

/** The coordinator dies in the midst of the exchange; the node works on, and the same command ends it. */
async function strikeRotationThere(name: Failpoint): Promise<string[]> {
  const member = await joinedMember();
  const broken = await strikeAt(armed(name), cluster.lead, async () => {
    expect((await there(member.home, ["rotate"]).ended()).code).toBe(1);
  });
  broken.push(...(await worksAt(member)));
  expect(await there(member.home, ["rotate"]).ended()).toMatchObject({ code: 0 });
  broken.push(...(await worksAt(member)));
  await member.stop();
  return broken;
}

/** The same command ends it, wherever it was cut short; the node is forgotten, and its machine may come in anew. */
async function strikeLeave(name: Failpoint): Promise<string[]> {
  const member = await joinedMember();
  expect(await there(member.home, ["leave"], armed(name)).ended()).toMatchObject({ code: null });
  return afterLeave(member);
}

async function strikeLeaveThere(name: Failpoint): Promise<string[]> {
  const member = await joinedMember();
  const broken = await strikeAt(armed(name), cluster.lead, async () => {
    expect((await there(member.home, ["leave"]).ended()).code).toBe(1);
  });
  return [...broken, ...(await afterLeave(member))];
}

async function afterLeave(member: TestDaemon): Promise<string[]> {
  const id = path.basename(member.home);
  expect(await there(member.home, ["leave"]).ended()).toMatchObject({ code: 0 });
  expect(await member.ended()).toMatchObject({ code: 0 });
  const { nodes } = await cluster.client.nodes({ all: true });
  const broken = nodes.some((node) => node.id === id) ? [`${id} is still known`] : [];
  const left = (await readdir(member.home)).filter((file) => file.startsWith("node.seed"));
  return [...broken, ...left.map((file) => `${file} was left behind`)];
}

function strikeStop(name: Failpoint): Promise<string[]> {
  return strikeAt(armed(name), cluster.lead, async () => {
    await load.someAnswered();
    process.kill(cluster.lead.pid, "SIGTERM");
  });
}

async function strikeLoss(name: Failpoint): Promise<string[]> {
  const broken = await strikeAt(armed(name), cluster.lead, async () => {
    await until("it runs something", async () => ((await cluster.client.node({ id: "two" as NodeId })).slotsUsed > 0 ? true : undefined));
    await two.kill();
  });
  // Not before: the coordinator that dies of the loss could not let it in.
  await two.start();
  return broken;
}

/** It dies with a result in its spool, and then again while it takes that up. */
async function strikeTakeUp(name: Failpoint): Promise<string[]> {
  await one.kill();
  await one.start(armed("run.kept", 2));
  const sent = load.start();
  await struck(one);
  await expect(one.start(armed(name))).rejects.toThrow(/ended/);
  await one.start();
  await sent;
  return load.broken();
}

/** The coordinator dies in a backup; the next one is whole, and nothing of the first is left. */
async function strikeBackup(name: Failpoint): Promise<string[]> {
  const broken = await strikeAt(armed(name), cluster.lead, async () => {
    await expect(cluster.client.backup()).rejects.toMatchObject({ code: "coordinator_unreachable" });
  });
  const { path: file } = await cluster.client.backup();
  const partial = (await readdir(path.dirname(file))).filter((one) => !one.endsWith(".db") && one !== IDENTITY_COPIES);
  return [...broken, ...partial.map((one) => `${one} was left behind`)];
}

/** A database of TASKS old tasks in a folder of its own. */
async function makeDatabase(home: string): Promise<{ database: string; backups: string }> {
  const places = { database: path.join(home, "data", "cluster.db"), backups: path.join(home, "backups") };
  const store = await openSqliteStore({ path: places.database });
  const { epoch } = await store.claim();
  const created = Array.from({ length: TASKS }, (_, at) => settled(newTask(at + 1, TASKS)));
  await store.commit({ epoch, created: created.map((task) => ({ ...task, endedAt: OLD_UNTIL - 1 })) });
  await store.close();
  return places;
}

/** What is in it, by a program that knows these layouts. */
async function tasksIn(database: string, migrations?: readonly string[]): Promise<number | string> {
  try {
    const store = await openSqliteStore({ path: database, ...(migrations !== undefined && { migrations }) });
    const { counts } = await store.load();
    await store.close();
    return counts.succeeded ?? 0;
  } catch (error) {
    return (error as ClusterError).code;
  }
}

/** The store's own process dies; `expected` is what a program of today and one of tomorrow find afterwards. */
async function strikeStore(act: "prune" | "migrate", name: Failpoint, expected: readonly (number | string)[]): Promise<string[]> {
  const home = path.join(cluster.folder, name);
  const { database, backups } = await makeDatabase(home);
  const child = run(process.execPath, [path.join(import.meta.dirname, "failpoints.child.ts"), act, database, backups], armed(name).env);
  expect(await child.ended()).toMatchObject({ code: null });
  const found = [await tasksIn(database), await tasksIn(database, LAYOUTS)];
  const copies = (await listBackups(backups)).filter(({ keepsLayout }) => keepsLayout === MIGRATIONS.length);
  if (act === "migrate") expect(await Promise.all(copies.map((copy) => tasksIn(copy.path)))).toEqual([TASKS]);
  return expected.every((one, at) => one === found[at]) ? [] : [`found ${found.join(" and ")} instead of ${expected.join(" and ")}`];
}

/** `restore` dies; what is in place then is the old database (all tasks) or the backup (one less), and nothing else. */
async function strikeRestore(name: Failpoint, expected: "old" | "new"): Promise<string[]> {
  const home = path.join(cluster.folder, name);
  const { database } = await makeDatabase(home);
  const backup = path.join(home, "backup.db");
  const store = await openSqliteStore({ path: database });
  await store.backup(backup);
  const { epoch } = await store.claim();
  await store.commit({ epoch, created: [settled(newTask(TASKS + 1, TASKS + 1))] });
  // As after a crash: what came last is in the log alone.
  await cp(path.dirname(database), path.join(home, "crashed"), { recursive: true });
  await store.close();
  await rm(path.dirname(database), { recursive: true });
  await rename(path.join(home, "crashed"), path.dirname(database));

  const restoring = runCommand(["restore", backup, "--home", home], armed(name));
  expect(await restoring.ended()).toMatchObject({ code: null });
  const found = await tasksIn(database);
  const broken = found === (expected === "old" ? TASKS + 1 : TASKS) ? [] : [`${found} tasks are there, not the ${expected} ones`];
  // And once more, to its end.
  expect(await runCommand(["restore", backup, "--home", home]).ended()).toMatchObject({ code: 0 });
  return (await tasksIn(database)) === TASKS ? broken : [...broken, "the second restore did not restore"];
}

const inLoad = (name: Failpoint): Promise<string[]> => strikeAt(armed(name), cluster.lead);
const inWorker = (name: Failpoint): Promise<string[]> => strikeAt(armed(name), one);
/** The first ends on this worker are those of the three with an effect; each of them is struck once. */
async function atEachEnd(name: Failpoint): Promise<string[]> {
  const broken: string[] = [];
  for (const pass of [1, 2, 3]) broken.push(...(await strikeAt(armed(name, pass), one)));
  return broken;
}

/** Each gives what was promised and is not so. */
const STRIKES: { readonly [Name in Failpoint]: (name: Name) => Promise<string[]> } = {
  "start.authority-key": strikeFirstStart,
  "start.drafted": strikeFirstStart,
  "start.token-committed": strikeFirstStart,
  "start.claimed": (name) => strikeStart(name, cluster.lead),
  "start.loaded": (name) => strikeStart(name, cluster.lead),
  "start.leading": (name) => strikeStart(name, cluster.lead),
  "stop.asked": strikeStop,
  "stop.told": strikeStop,
  "submit.asked": inLoad,
  "submit.applied": inLoad,
  "submit.committed": inLoad,
  "submit.answered": inLoad,
  "place.applied": inLoad,
  "place.committed": inLoad,
  "place.offered": inLoad,
  "report.applied": inLoad,
  "report.committed": inLoad,
  "report.answered": inLoad,
  "cancel.applied": inLoad,
  "cancel.committed": inLoad,
  "cancel.ordered": inLoad,
  "enrol.applied": strikeEnrol,
  "enrol.committed": strikeEnrol,
  "enrol.authorized": strikeEnrol,
  "rotate.applied": strikeRotationThere,
  "rotate.committed": strikeRotationThere,
  "rotate.authorized": strikeRotationThere,
  "rotate.written": strikeRotation,
  "rotate.answered": strikeRotation,
  "leave.applied": strikeLeaveThere,
  "leave.committed": strikeLeaveThere,
  "leave.answered": strikeLeave,
  "leave.cleared": strikeLeave,
  "alarm.applied": inLoad,
  "loss.applied": strikeLoss,
  "run.ended": atEachEnd,
  "run.kept": atEachEnd,
  "report.heard": inWorker,
  "report.forgotten": inWorker,
  "take-up.begun": strikeTakeUp,
  "backup.copied": strikeBackup,
  "backup.named": strikeBackup,
  "prune.deleted": (name) => strikeStore("prune", name, [TASKS]),
  "prune.committed": (name) => strikeStore("prune", name, [0]),
  "migration.copied": (name) => strikeStore("migrate", name, [TASKS, TASKS]),
  "migration.changed": (name) => strikeStore("migrate", name, [TASKS, TASKS]),
  "migration.committed": (name) => strikeStore("migrate", name, ["store_unreadable", TASKS]),
  "restore.copied": (name) => strikeRestore(name, "old"),
  "restore.adapted": (name) => strikeRestore(name, "old"),
  "restore.decided": (name) => strikeRestore(name, "new"),
  "restore.log-aside": (name) => strikeRestore(name, "new"),
  "restore.set-aside": (name) => strikeRestore(name, "new"),
  "restore.placed": (name) => strikeRestore(name, "new"),
};

describe("killed at", () => {
  test.each(Object.entries(STRIKES))("%s", async (name, strike) => {
    expect(await (strike as (name: Failpoint) => Promise<string[]>)(name as Failpoint)).toEqual([]);
  });
});

test("a name that is not in the list ends the start", async () => {
  await cluster.lead.kill();
  await expect(cluster.lead.start({ env: { [CRASH_AT]: "submit.sometime" } })).rejects.toThrow(/takes name or name:n.*submit\.applied/);
  await cluster.lead.start();
});
