/** Real daemons whose coordinator is not where their settings say, or whose bus is not where it was. */
import { once } from "node:events";
import { mkdir, readFile, writeFile } from "node:fs/promises";
import { createServer, type AddressInfo, type Server } from "node:net";
import path from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import { runCommand } from "../../scripts/daemon.ts";
import { openChaosProxy, type ChaosProxy } from "../support/chaos-proxy.ts";
import { startCluster, until, type TestCluster, type TestDaemon } from "../support/daemon.ts";

let cluster: TestCluster;
let proxy: ChaosProxy;
beforeAll(async () => {
  proxy = await openChaosProxy();
  cluster = await startCluster({ api: { port: 0, allowedHosts: [`127.0.0.1:${proxy.port}`] } });
  proxy.target = { port: Number(new URL(cluster.url).port) };
});
afterAll(async () => {
  await cluster?.end();
  await proxy?.close();
});

async function worker(id: string, url: string | readonly string[]): Promise<TestDaemon> {
  const home = path.join(cluster.folder, id);
  await mkdir(home, { recursive: true, mode: 0o700 });
  const settings = { nodeId: id, roles: ["worker"], coordinator: { url, tokenFile: path.join(cluster.lead.home, "admin.token") } };
  await writeFile(path.join(home, "cluster.yaml"), JSON.stringify({ ...settings, openclaw: { enabled: "off" } }), { mode: 0o600 });
  return cluster.startHome(home);
}

/** Nobody listens there a moment later, nor has so far. */
async function freePort(): Promise<number> {
  const server = createServer().listen(0, "127.0.0.1");
  await once(server, "listening");
  const { port } = server.address() as AddressInfo;
  await new Promise((resolve) => server.close(resolve));
  return port;
}

/** The state of a task that only this node may run, when it is over. */
async function ranOn(id: string): Promise<string> {
  return (await cluster.client.run({ kind: "echo", input: { value: 1 }, require: { nodes: [id] } } as never)).state;
}

test("a node comes in through another address than the dead one in its settings, and so does the command line there", async () => {
  const gone = `http://127.0.0.1:${proxy.port}`;
  const node = await worker("nas", gone);
  expect(await ranOn("nas")).toBe("succeeded");
  const kept = JSON.parse(await readFile(path.join(node.home, "data", "coordinators.json"), "utf8")) as { urls: string[] };
  expect(kept.urls).toEqual([cluster.url]);
  await node.stop();

  await proxy.close();
  await node.start();
  expect(await ranOn("nas")).toBe("succeeded");
  await node.stop();

  // In its place is one now that lets everybody in and says nothing, for ever.
  const silent: Server = createServer().listen(proxy.port, "127.0.0.1");
  await once(silent, "listening");
  try {
    await node.start();
    expect(await ranOn("nas")).toBe("succeeded");
    const status = await runCommand(["status", "--home", node.home, "--json"]).ended();
    expect(JSON.parse(status.stdout)).toMatchObject({ cluster: { coordinator: "lead" } });
    const probe = await runCommand(["probe", "--home", node.home, "--json"]).ended();
    expect(JSON.parse(probe.stdout)).toMatchObject({ ok: true, node: "nas", url: cluster.url });
  } finally {
    silent.close();
  }
});

test("a list in the settings, of which the first is dead", async () => {
  await worker("attic", ["http://127.0.0.1:1", cluster.url]);
  expect(await ranOn("attic")).toBe("succeeded");
});

test("what was tried is named where none answers", async () => {
  const home = path.join(cluster.folder, "lost");
  await mkdir(home, { mode: 0o700 });
  const urls = ["http://127.0.0.1:1", "http://127.0.0.1:2"];
  await writeFile(path.join(home, "cluster.yaml"), JSON.stringify({ nodeId: "lost", roles: ["worker"], coordinator: { url: urls } }));
  await writeFile(path.join(home, "coordinator.token"), "ocx_x\n");
  const { code, stdout } = await runCommand(["ps", "--home", home, "--json"]).ended();
  const { error } = JSON.parse(stdout) as { error: { code: string; detail: string } };
  expect({ code, error: error.code }).toEqual({ code: 1, error: "coordinator_unreachable" });
  for (const url of urls) expect(error.detail).toContain(url);
});

test("a bus that is at another address now is found by a node that runs", async () => {
  await worker("yard", cluster.url);
  expect(await ranOn("yard")).toBe("succeeded");
  await cluster.lead.stop();
  await cluster.lead.start({ env: { OPENCLAW_CLUSTER_NATS_PORT: String(await freePort()) } });
  const isReady = async (): Promise<true | undefined> =>
    (await cluster.client.nodes()).nodes.some(({ id, state }) => id === "yard" && state === "ready") ? true : undefined;
  await until("the node is back", isReady);
  expect(await ranOn("yard")).toBe("succeeded");
});
