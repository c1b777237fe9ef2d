/**
 * F26: disks that are full to the last byte, under the coordinator's database, under a worker's spool and folders, and
 * under the logs. What was accepted stays, what cannot be kept is refused before it is answered, and all goes on by
 * itself when there is room again. Needs root, for a disk of its own.
 */
import { mkdtemp, readdir, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import path from "node:path";
import type { NodeId, TaskId } from "@openclaw-cluster/contract/ids";
import { afterEach, describe, expect, test } from "vitest";
import { startCluster, until, untilOver, type TestCluster } from "../support/daemon.ts";
import { canMount, mountSmallDisk, type SmallDisk } from "../support/small-disk.ts";

const COMMANDS = { allow: { commands: ["uname -a"] } };
/** With 4 KiB each, more than any of these disks holds. */
const SUBMITS_MAX = 5_000;

let cluster: TestCluster | undefined;
const disks: SmallDisk[] = [];
const folders: string[] = [];
afterEach(async () => {
  for (const disk of disks) disk.makeRoom();
  for (const disk of disks.splice(0)) disk.unmount();
  await cluster?.end();
  for (const folder of folders.splice(0)) await rm(folder, { recursive: true, force: true });
});

/** nats-server's streams stay off the small disk: it is the database that is tried here. */
async function elsewhere(): Promise<string> {
  const folder = await mkdtemp(path.join(tmpdir(), "ocx-nats-"));
  folders.push(folder);
  return folder;
}

const ONLY_ONE = { require: { nodes: ["one" as NodeId] } };

async function fullOf(why: "floor" | "write"): Promise<void> {
  const look = async () => (await cluster?.client.node({ id: "one" as NodeId }))?.load?.diskFull;
  await until(`the node one says that its disk is full: ${why}`, async () => ((await look()) === why ? true : undefined));
}

function mount(folder: string, mebibytes: number): SmallDisk {
  const disk = mountSmallDisk(folder, mebibytes);
  disks.push(disk);
  return disk;
}

describe.skipIf(!canMount)("a full disk (needs root, to mount one)", () => {
  test("under the database: submits are refused before they are answered, reads and what was accepted stay, and it goes on", async () => {
    let disk: SmallDisk | undefined;
    const running = await startCluster(
      { nats: { port: 0, dataFolder: await elsewhere() }, backup: { folder: "data/backups" } },
      { prepare: (home) => void (disk = mount(path.join(home, "data"), 24)) },
    );
    cluster = running;
    const { client } = running;
    await running.addWorker("one", { slots: 4 });
    const value = "x".repeat(4_000);
    const { id: first } = await client.run({ kind: "echo", input: { value } });
    disk?.fill();
    const accepted: TaskId[] = [first];
    const body = { kind: "echo", input: { value } };
    const submit = () => running.ask({ method: "POST", path: "/api/v1/tasks", body });
    let refused;
    for (let n = 0; n < SUBMITS_MAX && refused === undefined; n += 1) {
      const answer = await submit();
      if (answer.status === 202) accepted.push(answer.json.id);
      else refused = answer;
    }
    expect(refused).toMatchObject({ status: 507, json: { code: "storage_full", retryable: true } });
    expect(await submit()).toMatchObject({ status: 507 });
    expect(await client.getTask({ id: first })).toMatchObject({ state: "succeeded" });
    expect((await client.listTasks({ limit: 500 })).tasks.length).toBe(Math.min(500, accepted.length));
    expect(await client.health()).toMatchObject({ status: "degraded", problems: [expect.stringContaining("disk is full")] });
    expect((await running.cli("backup", "--json")).json).toMatchObject({ ok: false, error: { code: "storage_full" } });

    const { epoch } = await client.cluster();
    disk?.makeRoom();
    expect(await client.run({ kind: "echo", input: { value: "again" } })).toMatchObject({ state: "succeeded" });
    for (const id of accepted) expect(await client.getTask({ id, wait: 30 })).toMatchObject({ state: "succeeded", result: value });
    expect(await client.cluster()).toMatchObject({ epoch, tasks: { succeeded: accepted.length + 1 } });
  });

  test("under a worker: it takes no new work and says so, what runs ends well, and with room again it goes on by itself", async () => {
    cluster = await startCluster();
    const { client } = cluster;
    const disk = mount(path.join(cluster.folder, "one", "data"), 16);
    const one = await cluster.addWorker("one", { slots: 4, policy: COMMANDS, diskFloorMiB: 4 });
    await cluster.addWorker("two", { slots: 4, policy: COMMANDS });
    const command = { kind: "command" as const, input: { argv: ["uname", "-a"] } };
    // Ends when the disk is full, and is worth keeping in the spool, which has no room.
    const { id: slow } = await client.submit({ kind: "echo", input: { value: "kept", delayMs: 5_000 }, ...ONLY_ONE });
    await until("it runs", async () => ((await client.getTask({ id: slow })).state === "running" ? true : undefined));
    disk.fill();
    await fullOf("floor");
    expect((await cluster.cli("nodes")).stdout).toMatch(/^one +ready, disk full: 0 MiB free /m);
    expect((await client.health()).problems).toContainEqual(expect.stringContaining("one takes no new work, disk full: 0 MiB free"));
    const elsewhere = await client.runMany([command, command, command, { kind: "echo", input: { value: 1 } }]);
    for (const ended of elsewhere) expect(ended).toMatchObject({ state: "succeeded", node: "two", attempt: 1 });
    const waiting = await client.submit({ ...command, ...ONLY_ONE });
    expect((await cluster.cli("why", waiting.id)).stdout).toMatch(
      /one +- +takes no new work \(disk full: 0 MiB free\) +free disk space on one/,
    );
    expect(await untilOver(cluster, slow)).toMatchObject({ state: "succeeded", result: "kept", attempt: 1 });
    expect(await client.getTask({ id: waiting.id })).toMatchObject({ state: "queued", attempt: 0 });

    disk.makeRoom();
    expect(await untilOver(cluster, waiting.id)).toMatchObject({ state: "succeeded", node: "one", attempt: 1 });
    expect((await cluster.cli("nodes")).stdout).toMatch(/^one +ready +0\/4 /m);
    expect(await one.stop()).toMatchObject({ code: 0 });
  });

  test("under a worker, for want of files: the attempt that finds it out costs nothing, and the rest is the same", async () => {
    cluster = await startCluster();
    const { client } = cluster;
    const disk = mount(path.join(cluster.folder, "one", "data"), 16);
    await cluster.addWorker("one", { slots: 4, policy: COMMANDS, diskFloorMiB: 4 });
    const command = { kind: "command" as const, input: { argv: ["uname", "-a"] } };
    disk.fillFiles();
    const { id } = await client.submit({ ...command, retry: { max: 0 } });
    await fullOf("write");
    expect((await cluster.cli("nodes")).stdout).toMatch(/^one +ready, disk full: a write found no room, with 1\d MiB free /m);
    await cluster.addWorker("two", { slots: 4, policy: COMMANDS });
    expect(await untilOver(cluster, id)).toMatchObject({ state: "succeeded", node: "two", attempt: 2 });
    const { attempts } = await client.attempts({ id });
    expect(attempts[0]).toMatchObject({ node: "one", outcome: "refused", error: { code: "disk_full" } });
    disk.makeRoom();
    expect(await client.run({ ...command, ...ONLY_ONE })).toMatchObject({ state: "succeeded", node: "one", attempt: 1 });
  });

  test("under the logs: the daemon goes on, and writes again when there is room", async () => {
    let disk: SmallDisk | undefined;
    cluster = await startCluster(
      { log: { level: "info" }, nats: { port: 0, dataFolder: await elsewhere() } },
      { prepare: (home) => void (disk = mount(path.join(home, "logs"), 1)) },
    );
    const { client, lead } = cluster;
    await cluster.addWorker("one");
    disk?.fill();
    await lead.stop();
    await lead.start();
    for (let n = 0; n < 3; n += 1) await client.backup();
    expect(await client.run({ kind: "echo", input: { value: 1 } })).toMatchObject({ state: "succeeded" });
    disk?.makeRoom();
    const logs = path.join(lead.home, "logs");
    const text = async (): Promise<string> => {
      const [file] = (await readdir(logs)).filter((name) => name.endsWith(".log"));
      return file === undefined ? "" : readFile(path.join(logs, file), "utf8");
    };
    const before = (await text()).length;
    await until("it logs again", async () => {
      // Each of them is a line.
      await client.backup();
      return (await text()).length > before ? true : undefined;
    });
  });
});
