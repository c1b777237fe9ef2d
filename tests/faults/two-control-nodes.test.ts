/**
 * Two control nodes, real daemons by the public commands: with a witness the other one leads when the leader dies, by itself; without,
 * a person says so on the machine that is left (`promote --force`).
 */
import { mkdtemp, readdir, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import path from "node:path";
import type { TaskId } from "@openclaw-cluster/contract/ids";
import { afterEach, expect, it } from "vitest";
import { loadConfig } from "../../cluster/src/system/config.ts";
import { openTrio, type Trio } from "../../scripts/control-trio.ts";
import { runCommand } from "../../scripts/daemon.ts";
import { childrenOf } from "../../scripts/bench/usage.ts";
import { until, untilOver } from "../support/daemon.ts";

/** For what hangs: each command is a process, and the machine may be busy. */
const SLOW_MS = 240_000;
const LEADS_MS_MAX = 60_000;

let folder: string;
let trio: Trio | undefined;
afterEach(async () => {
  await trio?.end();
  await rm(folder, { recursive: true, force: true, maxRetries: 3 });
});

async function open(...names: string[]): Promise<Trio> {
  folder = await mkdtemp(path.join(tmpdir(), "ocx-two-"));
  return (trio = await openTrio({ folder, names }));
}

async function command(at: string, ...argv: string[]) {
  const ended = await runCommand([...argv, "--home", path.join(folder, at), "--json"]).ended();
  return { ...ended, json: (ended.stdout === "" ? {} : JSON.parse(ended.stdout)) as Record<string, unknown> };
}
async function succeed(at: string, ...argv: string[]): Promise<Record<string, unknown>> {
  const { code, stderr, stdout, json } = await command(at, ...argv);
  expect(code, stderr + stdout).toBe(0);
  return json;
}

async function submit(cluster: Trio, node?: string): Promise<TaskId> {
  const where = node === undefined ? {} : { require: { nodes: [node as never] } };
  return (await cluster.client.submit({ kind: "echo", input: {}, ...where })).id;
}

/** As a machine dies: the daemon, and the servers that it runs. */
async function killAll(cluster: Trio, name: string): Promise<void> {
  const node = cluster.node(name);
  const servers = await childrenOf(node.pid);
  await node.kill();
  for (const pid of servers) {
    try {
      process.kill(pid, "SIGKILL");
    } catch (error) {
      // It went with its daemon.
      if ((error as NodeJS.ErrnoException).code !== "ESRCH") throw error;
    }
  }
}

const leads = (cluster: Trio, name: string): Promise<true> =>
  until(
    `${name} leads`,
    async () => {
      const view = await cluster.client.cluster().catch(() => undefined);
      return view !== undefined && (view.coordinator as string) === name && view.standsBy === undefined ? true : undefined;
    },
    LEADS_MS_MAX,
  );

it(
  "a witness is the third vote: the leader dies, the other one leads; the witness is shown, and leaves when it is demoted",
  async () => {
    const cluster = await open("one", "two", "pi");
    await succeed("one", "promote", "two");
    expect(await succeed("one", "promote", "pi", "--witness")).toMatchObject({ promoted: [{ node: "pi", state: "witness" }] });
    const { store, control } = await cluster.client.cluster();
    expect(control?.map(({ node, state, urls }) => [node, state, urls.length])).toEqual([
      ["one", "leader", 1],
      ["pi", "witness", 0],
      ["two", "standby", 1],
    ]);
    expect(store.members).toHaveLength(3);
    await until("three votes", async () => {
      const { members = [] } = (await cluster.client.cluster()).store;
      return members.every(({ state }) => state !== "learner") ? true : undefined;
    });
    const before = await submit(cluster);
    await untilOver(cluster, before);
    await killAll(cluster, "one");
    await leads(cluster, "two");
    const after = await submit(cluster, "two");
    expect((await untilOver(cluster, after)).state).toBe("succeeded");
    expect((await cluster.client.getTask({ id: before })).state).toBe("succeeded");
    await cluster.node("one").start();
    // A witness's own daemon starts again as one.
    await cluster.node("pi").stop();
    await cluster.node("pi").start();
    await succeed("two", "demote", "pi");
    // It hears of it by its etcd, and ends; as a worker a person has it begin.
    await until("pi has ended and is a worker", async () => ((await command("pi", "demote", "--here")).code === 0 ? true : undefined));
    expect(await rolesOf("pi")).toEqual(["worker"]);
    const { code, json } = await command("pi", "start", "--witness");
    expect([code, JSON.stringify(json)]).toEqual([2, expect.stringContaining("promote pi --witness")]);
    await cluster.node("pi").stop();
    await cluster.node("pi").start();
    const last = await submit(cluster, "pi");
    expect((await untilOver(cluster, last)).state).toBe("succeeded");
  },
  SLOW_MS,
);

const rolesOf = async (name: string): Promise<readonly string[]> => (await loadConfig({ home: path.join(folder, name), env: {} })).roles;

it(
  "without a third vote: the leader's machine is dead, the other one goes on by --force; the dead one does not lead when it comes back",
  async () => {
    const cluster = await open("one", "two");
    await succeed("one", "promote", "two");
    const before: TaskId[] = [];
    for (let n = 0; n < 20; n += 1) before.push(await submit(cluster));
    for (const id of before) await untilOver(cluster, id);
    const { epoch } = await cluster.client.cluster();

    // While the other one answers there is nothing to force.
    await cluster.node("two").stop();
    expect(await command("two", "promote", "--force", "--yes")).toMatchObject({ json: { error: { code: "state_conflict" } } });
    await cluster.node("two").start();

    await killAll(cluster, "one");
    expect(await command("two", "promote", "--force", "--yes")).toMatchObject({ json: { error: { code: "already_running" } } });
    await cluster.node("two").stop();
    const asked = await command("two", "promote", "--force");
    expect(asked).toMatchObject({ code: 2, json: { error: { code: "usage" } } });
    expect(asked.stderr).toContain("None of the lost machines may come back as it was");
    const forced = await succeed("two", "promote", "--force", "--yes");
    expect(forced).toMatchObject({ node: "two", lost: ["one"] });
    expect(forced["epoch"]).toBeGreaterThan(epoch);
    await cluster.node("two").start();
    await leads(cluster, "two");
    for (const id of before) expect((await cluster.client.getTask({ id })).state).toBe("succeeded");
    const after = await submit(cluster, "two");
    expect((await untilOver(cluster, after)).state).toBe("succeeded");
    expect((await cluster.client.cluster()).control?.map(({ node, state }) => [node, state])).toEqual([["two", "leader"]]);

    await expect(cluster.node("one").start()).rejects.toThrow("openclaw-cluster demote --here");
    expect(await succeed("one", "demote", "--here")).toMatchObject({ ok: true, urls: [cluster.node("two").url] });
    expect((await readdir(path.join(folder, "one", "data"))).filter((name) => name === "etcd" || name === "nats")).toEqual([]);
    await cluster.node("one").start();
    const again = await submit(cluster, "one");
    expect((await untilOver(cluster, again)).state).toBe("succeeded");
    await succeed("two", "promote", "one");
    expect((await cluster.client.cluster()).control?.map(({ node, state }) => [node, state])).toEqual([
      ["one", "standby"],
      ["two", "leader"],
    ]);
  },
  SLOW_MS,
);
