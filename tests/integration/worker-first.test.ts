/**
 * Machines at home are switched on in any order: a worker whose coordinator is not there yet waits for it and says so, and
 * ends at once where waiting is of no use, or where it is asked to.
 */
import { mkdir, readFile, writeFile } from "node:fs/promises";
import { createServer, type Server } from "node:net";
import { once } from "node:events";
import path from "node:path";
import { afterAll, afterEach, beforeAll, expect, test } from "vitest";
import type { Running } from "../../scripts/child.ts";
import { runCommand } from "../../scripts/daemon.ts";
import { createNodeKeys } from "../../cluster/src/trust/keys.ts";
import { startCluster, until, type TestCluster } from "../support/daemon.ts";

const WAITING = /waiting for the coordinator at (.*)/;
/** Far below the pauses and limits of a wait; for a busy machine. */
const AT_ONCE_MS = 5_000;

let cluster: TestCluster;
let workers: Running[] = [];
beforeAll(async () => {
  cluster = await startCluster();
});
afterEach(async () => {
  for (const worker of workers) await worker.end();
  workers = [];
});
afterAll(() => cluster?.end());

/** The public command, on its way up. */
async function startWorker(id: string, { url = cluster.url, token }: { url?: string; token?: string } = {}): Promise<Running> {
  const home = path.join(cluster.folder, id);
  const tokenFile = path.join(home, "given.token");
  await mkdir(home, { recursive: true, mode: 0o700 });
  await writeFile(tokenFile, token ?? (await readFile(path.join(cluster.lead.home, "admin.token"), "utf8")), { mode: 0o600 });
  const settings = { nodeId: id, roles: ["worker"], coordinator: { url, tokenFile }, openclaw: { enabled: "off" } };
  await writeFile(path.join(home, "cluster.yaml"), JSON.stringify(settings), { mode: 0o600 });
  const worker = runCommand(["start", "--home", home, "--json"]);
  workers.push(worker);
  return worker;
}

/** With which code, and what it said of the fault. */
async function endOf(worker: Running): Promise<{ code: number | null; error?: { code: string; detail: string } }> {
  const { code, stdout } = await worker.ended();
  return { code, ...(stdout !== "" && (JSON.parse(stdout) as { error: { code: string; detail: string } })) };
}

test("a worker that is up first waits, says why, and works when its coordinator comes", async () => {
  await cluster.lead.stop();
  const worker = await startWorker("early");
  expect(await worker.says(WAITING)).toBe(
    `${cluster.url}, tried once: The coordinator does not answer: ECONNREFUSED (coordinator_unreachable)`,
  );
  await worker.says(/tried 4 times/);
  await cluster.lead.start();
  await worker.says(/the coordinator at .* is there/);
  const ended = await cluster.client.run({ kind: "echo", input: { value: 1 }, require: { nodes: ["early"] } } as never);
  expect(ended).toMatchObject({ state: "succeeded", node: "early" });
  await worker.end("SIGTERM");
  expect((await worker.ended()).code).toBe(0);
});

test.each([
  ["a refused token", { token: "ocx_wrong" }, 1, "unauthorized"],
  ["an address that is none", { url: "studio:8888" }, 2, "config_invalid"],
])("%s ends the start at once", async (_what, given, code, error) => {
  const startedAt = Date.now();
  expect(await endOf(await startWorker("wrong", given))).toMatchObject({ code, error: { code: error } });
  expect(Date.now() - startedAt).toBeLessThan(2 * AT_ONCE_MS);
});

test("an id that belongs to another machine's key ends the start at once", async () => {
  const first = await startWorker("taken");
  await first.says(/"node": "taken"/);
  await first.end();
  const seed = path.join(cluster.folder, "taken", "node.seed");
  await writeFile(seed, Buffer.from(createNodeKeys().seed), { mode: 0o600 });
  expect(await endOf(await startWorker("taken"))).toMatchObject({ code: 1, error: { code: "state_conflict" } });
});

test("what is found out only when the coordinator comes ends the wait then", async () => {
  await cluster.lead.stop();
  const worker = await startWorker("stranger", { token: "ocx_wrong" });
  await worker.says(WAITING);
  await cluster.lead.start();
  expect(await endOf(worker)).toMatchObject({ code: 1, error: { code: "unauthorized" } });
});

test.each(["SIGTERM", "SIGINT"] as const)("%s ends the wait at once, and the folder is free again", async (signal) => {
  // A node of its own: one that was in before knows another address than the one in its settings.
  const node = `patient${signal.toLowerCase()}`;
  const silent: Server = createServer().listen(0, "127.0.0.1");
  await once(silent, "listening");
  const { port } = silent.address() as { port: number };
  // One that refuses, and one that lets in and never answers: in a pause, and in the midst of a try.
  for (const [url, ready] of [
    ["http://127.0.0.1:1", WAITING],
    [`http://127.0.0.1:${port}`, undefined],
  ] as const) {
    const connected = once(silent, "connection");
    const worker = await startWorker(node, { url });
    await (ready === undefined ? connected : worker.says(ready));
    const askedAt = Date.now();
    await worker.end(signal);
    expect((await worker.ended()).code).toBe(0);
    expect(Date.now() - askedAt).toBeLessThan(AT_ONCE_MS);
  }
  silent.close();
  const again = await startWorker(node);
  await again.says(/"node": "patient/);
  await until("it is ready", async () =>
    (await cluster.client.nodes()).nodes.some(({ id, state }) => id === node && state === "ready") ? true : undefined,
  );
});
