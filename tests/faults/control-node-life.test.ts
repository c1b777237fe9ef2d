/**
 * Control nodes by the public commands, real daemons: one begins alone on SQLite, two more are promoted, and demoted again.
 * The tests go on from each other, as the life of a cluster does.
 */
import { existsSync } from "node:fs";
import { mkdtemp, readdir, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import path from "node:path";
import type { TaskId } from "@openclaw-cluster/contract/ids";
import { afterAll, beforeAll, expect, it } from "vitest";
import { IDENTITY_COPIES } from "../../cluster/src/compose/identity.ts";
import { loadConfig } from "../../cluster/src/system/config.ts";
import { foldersOf } from "../../cluster/src/system/folders.ts";
import { openTrio, type Trio } from "../../scripts/control-trio.ts";
import { runCommand } from "../../scripts/daemon.ts";
import { until, untilOver } from "../support/daemon.ts";
import { searchFor, type Secret } from "../support/secret-search.ts";

const NAMES = ["one", "two", "three"];
const TASKS = 30;
/** For what hangs. Each command is a process, and so is what it starts anew; on a busy machine ten of them take minutes. */
const SLOW_MS = 240_000;
/** The daemon that is asked begins anew, or another one leads first. */
const AGAIN_MS_MAX = 30_000;

let folder: string;
let trio: Trio;
const ids: TaskId[] = [];

beforeAll(async () => {
  folder = await mkdtemp(path.join(tmpdir(), "ocx-control-"));
  trio = await openTrio({ folder, names: NAMES, store: "sqlite" });
});
afterAll(async () => {
  await trio?.end();
  await rm(folder, { recursive: true, force: true, maxRetries: 3 });
});

/** On the machine of that name. */
async function command(at: string, ...argv: string[]) {
  const ended = await runCommand([...argv, "--home", trio.node(at).home, "--json"]).ended();
  return { ...ended, json: ended.stdout === "" ? undefined : (JSON.parse(ended.stdout) as Record<string, unknown>) };
}

async function succeed(at: string, ...argv: string[]): Promise<Record<string, unknown>> {
  const { code, stderr, stdout, json } = await command(at, ...argv);
  expect(code, stderr + stdout).toBe(0);
  return json as Record<string, unknown>;
}

const states = async (): Promise<string> =>
  ((await trio.client.cluster()).control ?? []).map(({ node, state }) => `${node} ${state === "leader" ? "standby" : state}`).join(", ");
const leader = async (): Promise<string> => (await trio.leader()).name;
const roles = async (name: string): Promise<readonly string[]> => (await loadConfig({ home: trio.node(name).home, env: {} })).roles;

/** One on each of them, and all that were ever accepted have ended well. */
async function runOnAll(): Promise<void> {
  for (const node of NAMES) {
    const { id } = await trio.client.submit({ kind: "echo", input: { value: node }, require: { nodes: [node as never] } });
    ids.push(id);
  }
  for (const id of ids) expect((await untilOver(trio, id)).state).toBe("succeeded");
}

/** Everything that would open the cluster, as the disk of this machine has it. */
async function secretsOf(name: string): Promise<readonly Secret[]> {
  const { coordinatorSeed, authorityKey, adminToken } = foldersOf(trio.node(name).home);
  const all = [coordinatorSeed, authorityKey, adminToken].map(async (file) => ({ name: path.basename(file), value: await read(file) }));
  return Promise.all(all);
}
const read = async (file: string): Promise<string> => (await readFile(file, "utf8")).trim();

async function found(name: string, secrets: readonly Secret[]): Promise<readonly string[]> {
  const search = searchFor(secrets);
  const { home } = trio.node(name);
  const files = await readdir(home, { recursive: true, withFileTypes: true });
  const all: string[] = [];
  for (const file of files.filter((one) => one.isFile())) {
    const at = path.join(file.parentPath, file.name);
    // A running server's file may be gone by now; its own key, of its worker, stays with every node.
    const bytes = await readFile(at).catch(() => Buffer.alloc(0));
    if (path.basename(at).startsWith("node.")) continue;
    for (const finding of search(bytes)) all.push(`${finding} in ${path.relative(home, at)}`);
  }
  return all;
}

it(
  "begins on SQLite, and `promote two three` moves the store first",
  async () => {
    for (const { id } of await trio.client.submitMany(
      Array.from({ length: TASKS }, (_, value) => ({ kind: "echo" as const, input: { value } })),
    ))
      ids.push(id);
    const { promoted, control } = await succeed("one", "promote", "two", "three");
    expect(promoted).toMatchObject([{ node: "two" }, { node: "three" }]);
    expect(control).toMatchObject([{ node: "one", state: "leader" }, { node: "three" }, { node: "two" }]);
    await runOnAll();
  },
  SLOW_MS,
);

it(
  "shows who leads and who stands by, whichever of them is asked",
  async () => {
    for (const name of NAMES) {
      const view = await succeed(name, "cluster");
      expect(view).toMatchObject({ control: [{ node: "one", state: "leader" }, { state: "standby" }, { state: "standby" }] });
    }
    const view = async (): Promise<unknown> => succeed("one", "cluster");
    await expect
      .poll(view, { timeout: AGAIN_MS_MAX })
      .toMatchObject({ store: { kind: "etcd", members: [{}, {}, {}] }, bus: { mode: "cluster", servers: [{}, {}, {}] } });
  },
  SLOW_MS,
);

it("refuses to take the store back to SQLite while others share it", async () => {
  const { code, json } = await command("one", "store", "migrate", "--to", "sqlite");
  expect([code, json]).toMatchObject([1, { error: { code: "state_conflict" } }]);
  expect(JSON.stringify(json)).toContain("three and two share this store: demote them first");
});

it(
  "a daemon of a control node that is stopped and started stands by again",
  async () => {
    await trio.node("three").stop();
    await trio.node("three").start();
    await expect.poll(states, { timeout: AGAIN_MS_MAX }).toBe("one standby, three standby, two standby");
    await runOnAll();
  },
  SLOW_MS,
);

it(
  "one that stands by is demoted: it works, and nothing on its disk opens the cluster any more",
  async () => {
    const secrets = await secretsOf("three");
    expect(await found("three", secrets)).not.toEqual([]);
    await succeed("one", "demote", "three");
    await until("three only works", async () => ((await roles("three")).join() === "worker" ? true : undefined));
    await runOnAll();
    expect(await found("three", secrets)).toEqual([]);
    const { data, backups } = foldersOf(trio.node("three").home);
    expect([path.join(data, "etcd"), path.join(data, "nats"), path.join(backups, IDENTITY_COPIES)].filter(existsSync)).toEqual([]);
    expect(await states()).toBe("one standby, two standby");
  },
  SLOW_MS,
);

it(
  "one that was demoted is promoted again, and then the leader is demoted: it hands over first, and works",
  async () => {
    await succeed("one", "promote", "three");
    expect(await states()).toBe("one standby, three standby, two standby");
    const former = await leader();
    const [other = ""] = NAMES.filter((name) => name !== former);
    const secrets = await secretsOf(former);
    await succeed(other, "demote", former);
    expect(await leader()).not.toBe(former);
    await until("it only works", async () => ((await roles(former)).join() === "worker" ? true : undefined));
    await runOnAll();
    expect(await found(former, secrets)).toEqual([]);
    await succeed(other, "promote", former);
    expect(await states()).toBe("one standby, three standby, two standby");
    await runOnAll();
  },
  SLOW_MS,
);

it(
  "alone again, a control node takes the store back to SQLite",
  async () => {
    const last = await leader();
    for (const name of NAMES.filter((one) => one !== last)) await succeed(last, "demote", name);
    expect(await succeed(last, "store", "migrate", "--to", "sqlite")).toMatchObject({ ok: true, to: "sqlite" });
    await runOnAll();
    expect(await succeed(last, "cluster")).toMatchObject({ coordinator: last, store: { kind: "sqlite" } });
  },
  SLOW_MS,
);
