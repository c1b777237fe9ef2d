/** A machine comes into a real cluster with a code, as a person does it, works there, and is shut out again. */
import { readdir, readFile } from "node:fs/promises";
import { hostname } from "node:os";
import path from "node:path";
import { DatabaseSync } from "node:sqlite";
import { NodeId } from "@openclaw-cluster/contract/ids";
import { afterAll, beforeAll, expect, test } from "vitest";
import { runCommand } from "../../scripts/daemon.ts";
import { startCluster, until, untilOver, type TestCluster, type TestDaemon } from "../support/daemon.ts";

const NAS = NodeId.parse("nas");
/** From the join to the end of the first task (the word); a loaded machine is not what is tried here. */
const JOINED_MS = 30_000;

let cluster: TestCluster;
let home: string;
let code: string;
let nas: TestDaemon | undefined;
beforeAll(async () => {
  cluster = await startCluster();
  home = path.join(cluster.folder, "nas");
});
afterAll(() => cluster?.end());

/** As on the other machine: its own home, and nothing in its environment. */
const there = async (...argv: string[]) => runCommand(argv, { env: { OPENCLAW_CLUSTER_HOME: home } }).ended();
const inState = (state: string): Promise<true> =>
  until(`nas is ${state}`, async () => ((await cluster.client.node({ id: NAS })).state === state ? true : undefined));

test("with one line on each machine: it works within seconds, and keeps no token", async () => {
  const invited = await cluster.cli("invite", "--approve");
  expect(invited.code).toBe(0);
  [code] = /ocj1_[\w-]+/.exec(invited.stdout) as unknown as [string];
  const joined = await there("join", "--no-start", code, "--node-id", "nas");
  expect(joined).toMatchObject({ code: 0, stdout: expect.stringContaining("nas is a node of openclaw; start it here") as string });
  await there("config", "set", "openclaw.enabled", "off");
  nas = await cluster.startHome(home);
  const task = await cluster.client.submit({ kind: "echo", input: { value: "hello" }, require: { nodes: [NAS] } });
  expect(await untilOver(cluster, task.id, JOINED_MS)).toMatchObject({ state: "succeeded", node: "nas", result: "hello" });
  expect((await readdir(home)).filter((name) => name.includes("token"))).toEqual([]);
  expect(await readFile(path.join(home, "cluster.yaml"), "utf8")).not.toContain(code);
});

test("the code is good for that machine alone", async () => {
  const other = path.join(cluster.folder, "other");
  const end = await runCommand(["join", "--no-start", code, "--node-id", "other"], { env: { OPENCLAW_CLUSTER_HOME: other } }).ended();
  expect(end).toMatchObject({ code: 1, stderr: expect.stringContaining("unknown, was used, or has run out") as string });
  await expect(readFile(path.join(other, "cluster.yaml"), "utf8")).rejects.toThrow("ENOENT");
});

test("shut out, it is gone at once: its task runs elsewhere, its daemon ends, and its key opens nothing any more", async () => {
  const task = await cluster.client.submit({ kind: "echo", input: { value: 1, delayMs: 60_000 } });
  await until("it runs", async () => (await cluster.client.getTask({ id: task.id })).state === "running" || undefined);
  expect((await cluster.cli("nodes", "revoke", "nas")).stdout).toContain("nas is shut out");
  expect(await cluster.client.getTask({ id: task.id })).toMatchObject({ state: "queued", reason: "node_lost" });
  // 2: service managers leave it alone then, instead of starting it again and again.
  expect(await nas?.ended()).toMatchObject({
    code: 2,
    stderr: expect.stringContaining("shut out by an administrator (node_removed)") as string,
  });
  await expect(nas?.start()).rejects.toThrow("knows no node nas with this machine's key, or has shut it out");
  await inState("revoked");
  await cluster.client.cancel({ id: task.id });
});

test("without --approve it waits until somebody lets it in", async () => {
  expect((await cluster.cli("nodes", "remove", "nas")).code).toBe(0);
  const invited = await cluster.cli("invite", "--node-id", "nas", "--json");
  const joined = await there("join", "--no-start", invited.json.code as string);
  expect(joined.stdout).toContain("nas has joined openclaw and waits to be let in");
  const listed = (await cluster.cli("nodes")).stdout;
  expect(listed).toMatch(/nas +pending/);
  // The same on both sides, for two people to compare.
  const [key] = /(?:[A-Z2-7]{4}-){4}[A-Z2-7]{4}/.exec(joined.stdout) ?? [];
  expect(listed).toContain(`nas waits to be let in: key ${key}, says it is ${hostname()} (${process.platform}), came from 127.0.0.1`);
  expect((await cluster.cli("nodes", "show", "nas")).stdout).toContain(key);
  expect((await cluster.cli("nodes", "show", "nas", "--json")).json).toMatchObject({ fingerprint: key });
  expect((await there("join", "--no-start", invited.json.code as string, "--json")).stdout).toContain(`"fingerprint": "${key}"`);
  const started = nas?.start();
  await until("it waits", async () => (await cluster.client.node({ id: NAS })).state === "pending" || undefined);
  expect(await cluster.cli("nodes", "approve", "nas")).toMatchObject({ code: 0, stdout: expect.stringContaining(key as string) as string });
  await started;
  await inState("ready");
  const { entries } = await cluster.client.audit({ limit: 500 });
  for (const what of ["node.joined", "node.approved"])
    expect(entries.findLast(({ action }) => action === what)?.object).toContain(`key ${key}`);
});

test("all of it is in the audit log, by whom, in a chain that shows when somebody changes it", async () => {
  const listed = await cluster.cli("audit");
  for (const line of [
    /token \w{8} \(admin\) +node\.invited/,
    /node nas +node\.joined/,
    /\(admin\) +node\.revoked +nas/,
    /\(admin\) +node\.approved +nas/,
  ])
    expect(listed.stdout).toMatch(line);
  const whole = await cluster.cli("audit", "verify", "--json");
  expect(whole).toMatchObject({ code: 0, json: { whole: true } });
  await cluster.lead.stop();
  const database = new DatabaseSync(path.join(cluster.folder, "lead", "data", "cluster.db"));
  database.exec("UPDATE audit SET actor = 'nobody' WHERE action = 'node.revoked'");
  database.close();
  await cluster.lead.start();
  expect(await cluster.cli("audit", "verify")).toMatchObject({ code: 1, stdout: expect.stringContaining("NOT WHOLE: entry") as string });
  const head = whole.json.head as string;
  expect((await cluster.cli("audit", "verify", "--expect", head)).code).toBe(1);
});
