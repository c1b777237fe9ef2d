import { chmod, mkdtemp, rm, writeFile } from "node:fs/promises";
import { createServer as createHttpServer } from "node:http";
import { createServer, type AddressInfo, type Server } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { foldersOf, makeFolders, writePrivateFile } from "../system/folders.ts";
import { checkDisk, checkFolders, checkPort } from "./check-places.ts";
import { checkClock, checkMachine, nodeInRange, sqliteIsSafe } from "./checks.ts";

let home: string;
const servers: Server[] = [];
beforeEach(async () => {
  home = await mkdtemp(join(tmpdir(), "checks-"));
});
afterEach(async () => {
  for (const server of servers.splice(0)) await new Promise((resolve) => server.close(resolve));
  await rm(home, { recursive: true });
});

async function listen(server: Server): Promise<number> {
  servers.push(server);
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  return (server.address() as AddressInfo).port;
}

describe("versions", () => {
  it.each([
    ["20.19.0", false],
    ["24.15.9", false],
    ["24.16.0", true],
    ["25.9.0", false],
    ["26.0.0", false],
    ["26.1.0", true],
    ["26.10.0", true],
    ["28.0.0", true],
  ])("Node %s: %s", (version, fits) => expect(nodeInRange(version)).toBe(fits));

  it.each([
    ["3.44.5", false],
    ["3.44.6", true],
    ["3.45.0", false],
    ["3.50.6", false],
    ["3.50.7", true],
    ["3.51.0", false],
    ["3.51.3", true],
    ["3.53.4", true],
  ])("SQLite %s: %s", (version, safe) => expect(sqliteIsSafe(version)).toBe(safe));

  it("wants a clock that has reached this program's year", () => {
    expect(checkClock(Date.UTC(1970, 0, 2))).toMatchObject({ level: "fail", advice: expect.stringContaining("clock") });
    expect(checkClock(Date.UTC(2027, 0, 1)).level).toBe("ok");
  });
});

describe("ports", () => {
  it("may be free, or chosen at each start", async () => {
    expect(await checkPort("API port", "127.0.0.1", 0, foldersOf(home))).toMatchObject({ level: "ok" });
    const server = createServer();
    const port = await listen(server);
    await new Promise((resolve) => servers.splice(0)[0]?.close(resolve));
    expect(await checkPort("API port", "127.0.0.1", port, foldersOf(home))).toMatchObject({
      level: "ok",
      found: expect.stringContaining("free"),
    });
  });

  it("may be held by this folder's own daemon, by another's, or by something else", async () => {
    const folders = foldersOf(home);
    await makeFolders(folders);
    const coordinator = createHttpServer((request, response) => {
      response.setHeader("connection", "close").end(request.url === "/healthz" ? '{"status":"ok"}' : "");
    });
    const port = await listen(coordinator);
    const advice = expect.stringContaining("another port") as string;
    expect(await checkPort("API port", "127.0.0.1", port, folders)).toMatchObject({ level: "warn", advice });
    await writePrivateFile(folders.apiUrl, `http://127.0.0.1:${port}\n`);
    expect(await checkPort("API port", "127.0.0.1", port, folders)).toMatchObject({ level: "ok" });

    const other = createHttpServer((_request, response) => void response.setHeader("connection", "close").end('{"ok":true}'));
    const taken = await listen(other);
    await writePrivateFile(folders.apiUrl, `http://127.0.0.1:${taken}\n`);
    expect(await checkPort("API port", "127.0.0.1", taken, folders)).toMatchObject({ level: "warn", advice });
  });

  it("may not be ours to open", async () => {
    expect(await checkPort("API port", "192.0.2.1", 8_888, foldersOf(home))).toMatchObject({
      level: "fail",
      found: expect.stringContaining("EADDRNOTAVAIL"),
    });
  });
});

describe("places", () => {
  it.skipIf(process.platform === "win32")("are closed to others, or doctor says how to close them", async () => {
    const folders = foldersOf(join(home, "cluster"));
    expect(await checkFolders(folders)).toMatchObject({ level: "ok", found: expect.stringContaining("not made yet") });
    await makeFolders(folders);
    await writePrivateFile(folders.adminToken, "t");
    expect(await checkFolders(folders)).toEqual({ name: "folders", level: "ok", found: folders.home });
    const named = join(home, "gateway.token");
    await writeFile(named, "t", { mode: 0o644 });
    expect(await checkFolders(folders, [named, folders.adminToken])).toMatchObject({
      level: "fail",
      advice: `Close them: chmod 600 ${named}`,
    });
    await chmod(folders.logs, 0o755);
    await chmod(folders.adminToken, 0o644);
    expect(await checkFolders(folders)).toMatchObject({
      level: "fail",
      advice: `Close them: chmod 700 ${folders.logs}; chmod 600 ${folders.adminToken}`,
    });
  });

  it("have room, also where the folder is not made yet", async () => {
    expect(await checkDisk(join(home, "a", "b"), 0)).toMatchObject({ found: expect.stringMatching(/^\d+ MiB free/) });
    expect(await checkDisk(home, Infinity)).toMatchObject({ level: "fail", advice: "Free some space." });
    const adviceFor = async (days: number, tasks: number) => (await checkDisk(home, Infinity, { days, tasks })).advice;
    expect(await adviceFor(30, 0)).toContain("`openclaw-cluster config set retention.days 8`");
    expect(await adviceFor(7, 20_000)).toContain("`openclaw-cluster config set retention.tasks 10000`");
  });
});

describe("a machine", () => {
  const check = async (name: string) =>
    (await checkMachine({ home, env: { OPENCLAW_CLUSTER_OPENCLAW: "off", OPENCLAW_CLUSTER_API_PORT: "0", PATH: "", HOME: home } })).find(
      (one) => one.name === name,
    );

  it("is judged by its policy as the worker will judge it", async () => {
    expect(await check("policy.yaml")).toMatchObject({ level: "ok", found: "may run here: echo, agent, model" });
    await writeFile(join(home, "policy.yaml"), "version: 1\nallow: {commands: [uname -a]}\n", { mode: 0o600 });
    expect(await check("policy.yaml")).toMatchObject({ level: "ok", found: "may run here: echo, command" });
    await writeFile(join(home, "policy.yaml"), "version: 1\nallow: {comands: []}\n");
    expect(await check("policy.yaml")).toMatchObject({ level: "fail", found: expect.stringContaining("comands") });
  });

  it("is told a nats-server that was named and does not serve", async () => {
    await writeFile(join(home, "cluster.yaml"), `nats: {binary: ${join(home, "none")}}\n`);
    expect(await check("nats-server")).toMatchObject({ level: "warn", found: expect.stringContaining("OPENCLAW_CLUSTER_NATS_BIN") });
  });
});
