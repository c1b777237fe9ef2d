/**
 * F10, F11, F30: a daemon that must not start says why and what to do, in words and by its exit code, and changes
 * nothing. A damaged database is never taken for a first start.
 */
import { createServer } from "node:net";
import { once } from "node:events";
import { cp, readFile, rm, truncate, writeFile } from "node:fs/promises";
import path from "node:path";
import { DatabaseSync } from "node:sqlite";
import type { TaskId } from "@openclaw-cluster/contract/ids";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { startCluster, type CliEnd, type TestCluster } from "../support/daemon.ts";

let cluster: TestCluster;
let id: TaskId;
/** Of a coordinator that was stopped in good order. */
let data: string;
let whole: Buffer;
beforeAll(async () => {
  cluster = await startCluster();
  await cluster.addWorker("one");
  const value = "x".repeat(4_000);
  const ended = await cluster.client.runMany(Array.from({ length: 50 }, () => ({ kind: "echo", input: { value } })));
  id = ended[0]!.id;
  data = path.join(cluster.lead.home, "data");
});
afterAll(() => cluster?.end());

const start = (...more: string[]): Promise<CliEnd> => cluster.cli("start", "--home", cluster.lead.home, "--json", ...more);

test("a second coordinator of one folder is refused, and the first goes on (F10)", async () => {
  expect(await start("--port", "0")).toMatchObject({
    code: 1,
    json: { error: { code: "already_running", detail: expect.stringContaining(cluster.lead.home) } },
  });
  expect(await cluster.client.run({ kind: "echo", input: { value: 1 } })).toMatchObject({ state: "succeeded" });
});

describe("once it is stopped", () => {
  beforeAll(async () => {
    await cluster.lead.stop();
    whole = await readFile(path.join(data, "cluster.db"));
  });

  test.each([
    ["api.host=0.0.0.0", /api\.host: 0\.0\.0\.0 may be reached from anywhere/],
    ["slots=none", /slots/],
    ["colour=red", /colour/],
  ])("a wrong setting ends the start with 2: %s (F11)", async (setting, told) => {
    const end = await start("--set", setting);
    expect(end.code).toBe(2);
    expect(end.json.error.detail).toMatch(told);
  });

  test("a wrong cluster.yaml is told with its line (F11)", async () => {
    const file = path.join(cluster.lead.home, "cluster.yaml");
    const before = await readFile(file, "utf8");
    await writeFile(file, "nodeId: lead\nroles: [king]\n");
    expect(await start()).toMatchObject({
      code: 2,
      json: { error: { code: "config_invalid", detail: expect.stringContaining("cluster.yaml:2: roles") } },
    });
    await writeFile(file, before);
  });

  test("a port that is taken ends the start with 2, and leaves no nats-server behind (F11)", async () => {
    const other = createServer().listen(0, "127.0.0.1");
    await once(other, "listening");
    const { port } = other.address() as { port: number };
    expect(await start("--port", String(port))).toMatchObject({
      code: 2,
      json: { error: { code: "port_taken", detail: expect.stringContaining(String(port)) } },
    });
    other.close();
  });

  test.each<[string, (file: string) => Promise<void>, RegExp]>([
    ["is empty", (file) => truncate(file, 0), /empty, or another program's/],
    ["is cut off", (file) => truncate(file, 5 * 4_096), /damaged/],
    ["has bad pages", (file) => writeFile(file, Buffer.from(whole).fill(0xff, 8 * 4_096, 16 * 4_096)), /damaged/],
    [
      "is gone beside its log",
      async (file) => {
        await rm(file);
        await writeFile(`${file}-wal`, "x");
      },
      /its log .* is there/,
    ],
    [
      "is a newer version's",
      async (file) => {
        const newer = new DatabaseSync(file);
        newer.exec("PRAGMA user_version = 99");
        newer.close();
      },
      /newer version/,
    ],
  ])("a database that %s is refused, and never started empty (F30)", async (_what, harm, told) => {
    const file = path.join(data, "cluster.db");
    const kept = path.join(cluster.folder, "kept");
    await cp(data, kept, { recursive: true });
    await harm(file);
    const found = await readFile(file).catch(() => undefined);
    const end = await start();
    expect(end.code).toBe(1);
    expect(end.json.error).toMatchObject({
      code: "store_unreadable",
      detail: expect.stringMatching(told),
      hint: expect.stringContaining("restore"),
    });
    expect(await readFile(file).catch(() => undefined)).toEqual(found);
    await rm(data, { recursive: true });
    await cp(kept, data, { recursive: true });
    await rm(kept, { recursive: true });
  });

  test("a log that is cut off ends at its last whole commit: what stands before it is there (F30)", async () => {
    await cluster.lead.start();
    const { id: newer } = await cluster.client.run({ kind: "echo", input: { value: "in the log" } });
    await cluster.lead.kill();
    await truncate(path.join(data, "cluster.db-wal"), 10 * 4_120 + 32 + 100);
    await cluster.lead.start();
    expect(await cluster.client.getTask({ id })).toMatchObject({ state: "succeeded" });
    expect(newer).not.toBe(id);
  });
});
