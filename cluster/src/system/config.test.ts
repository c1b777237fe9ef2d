import { mkdtemp, readFile, rm, stat, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { ClusterError } from "@openclaw-cluster/contract/errors";
import { NodeId } from "@openclaw-cluster/contract/ids";
import { LIMITS } from "@openclaw-cluster/contract/limits";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { configJsonSchema, FIELDS } from "./config-schema.ts";
import { keepNodeId, loadConfig, nodeIdFrom, patchFromText, patchWithout, saveConfig, settingNamed, slotsFor } from "./config.ts";

let home: string;
beforeEach(async () => {
  home = await mkdtemp(join(tmpdir(), "config-"));
});
afterEach(async () => {
  await rm(home, { recursive: true });
});

const yaml = (text: string): Promise<void> => writeFile(join(home, "cluster.yaml"), text);
const load = (env: Record<string, string> = {}, flags = {}): ReturnType<typeof loadConfig> => loadConfig({ home, env, flags });
const read = (): Promise<string> => readFile(join(home, "cluster.yaml"), "utf8");

async function failure(promise: Promise<unknown>): Promise<ClusterError> {
  const error = await promise.then(
    () => undefined,
    (reason: unknown) => reason,
  );
  if (error instanceof ClusterError) return error;
  throw new Error(`expected a ClusterError, got ${String(error)}`);
}

describe("precedence", () => {
  it("is flag, environment, file, default, for each field by itself", async () => {
    await yaml("api:\n  port: 1001\n  host: 127.0.0.2\nclusterName: file\nstrategy: random\n");
    const env = { OPENCLAW_CLUSTER_API_PORT: "1002", OPENCLAW_CLUSTER_NAME: "env" };
    const config = await load(env, { api: { port: 1003 } });
    expect(config.api).toEqual({ host: "127.0.0.2", public: false, port: 1003, allowedHosts: [] });
    expect(config.clusterName).toBe("env");
    expect(config.strategy).toBe("random");
    expect(config.retention).toEqual({ days: 30, tasks: 0 });
  });

  it("decides everything without a file", async () => {
    const config = await load();
    expect(config.roles).toEqual(["coordinator", "worker"]);
    expect(config.api).toEqual({ host: "127.0.0.1", public: false, port: 8888, allowedHosts: [] });
    expect(config.nodeId).toMatch(/^[a-z0-9]{1,32}$/);
    expect(config.slots).toBeGreaterThanOrEqual(2);
  });

  it("finds the home by the environment", async () => {
    await yaml("clusterName: here\n");
    expect((await loadConfig({ env: { OPENCLAW_CLUSTER_HOME: home } })).clusterName).toBe("here");
  });

  it("reads lists, labels and numbers from the environment", async () => {
    const config = await load({
      OPENCLAW_CLUSTER_ROLES: "coordinator,worker",
      OPENCLAW_CLUSTER_LABELS: "gpu=yes,room=office",
      OPENCLAW_CLUSTER_API_ALLOWED_HOSTS: "[a.ts.net, b.ts.net]",
      OPENCLAW_CLUSTER_NAME: "42",
      OPENCLAW_CLUSTER_SLOTS: "3",
    });
    expect(config.roles).toEqual(["coordinator", "worker"]);
    expect(config.labels).toEqual({ gpu: "yes", room: "office" });
    expect(config.api.allowedHosts).toEqual(["a.ts.net", "b.ts.net"]);
    expect(config.clusterName).toBe("42");
    expect(config.slots).toBe(3);
  });

  it("takes an empty variable as none", async () => {
    expect((await load({ OPENCLAW_CLUSTER_API_PORT: "" })).api.port).toBe(8888);
  });
});

describe("a wrong setting ends the start (C2)", () => {
  it.each([
    ["a wrong type", "clusterName: a\napi:\n  # the port\n  port: high\n", "cluster.yaml:4: api.port: "],
    ["an unknown field", "clusterName: a\napi:\n  prot: 1\n", "cluster.yaml:3: api.prot: "],
    ["an unknown section", "clusterName: a\nnatz: {}\n", "cluster.yaml:2: natz: "],
    ["a value out of range", "slots: 0\n", "cluster.yaml:1: slots: "],
    ["a name as an address", "api: {host: studio}\n", "cluster.yaml:1: api.host: name an address"],
    ["an address with a zone", 'api: {host: "fe80::1%eth0"}\n', "cluster.yaml:1: api.host: name an address"],
    ["bad syntax", "clusterName: a\napi: [1\n", "cluster.yaml:3: "],
    ["a key twice", "slots: 2\nslots: 3\n", "cluster.yaml:2: "],
    ["a file that is a list", "- a\n", "cluster.yaml:1: the whole file: "],
  ])("%s", async (_what, text, told) => {
    await yaml(text);
    const error = await failure(load());
    expect(error.code).toBe("config_invalid");
    expect(error.detail).toContain(told);
  });

  it.each(["0.0.0.0", "::", "203.0.113.7", "2001:db8::7"])("%s: what the whole internet may reach needs a second word", async (host) => {
    expect(await failure(load({ OPENCLAW_CLUSTER_API_HOST: host }))).toMatchObject({
      code: "config_invalid",
      detail: expect.stringContaining("api.public"),
    });
    expect((await load({ OPENCLAW_CLUSTER_API_HOST: host, OPENCLAW_CLUSTER_API_PUBLIC: "true" })).api.host).toBe(host);
  });

  it.each(["lan", "tailscale", "192.168.1.5", "fd12:3456::1", "127.0.0.1", "localhost", "100.64.0.1"])("%s does not", async (host) => {
    expect((await load({ OPENCLAW_CLUSTER_API_HOST: host })).api).toMatchObject({ host, public: false });
  });

  it.each(["http://ann:pa55word@studio:8888", "http://studio:8888/?token=pa55word", "http://127.0.0.1:18789/chat#token=pa55word"])(
    "%s: no secret in an address, and none in what is said of it",
    async (url) => {
      for (const section of ["coordinator", "openclaw"]) {
        await yaml(JSON.stringify({ [section]: { url } }));
        const error = await failure(load());
        expect(error).toMatchObject({ code: "config_invalid", detail: expect.stringMatching(/a token goes into a file/) });
        expect(error.message).not.toContain("pa55word");
      }
      const error = await failure(load({ OPENCLAW_CLUSTER_OPENCLAW_URL: url }));
      expect(error.message).not.toContain("pa55word");
    },
  );

  it("names the variable", async () => {
    const error = await failure(load({ OPENCLAW_CLUSTER_API_PORT: "high" }));
    expect(error.code).toBe("config_invalid");
    expect(error.detail).toContain("OPENCLAW_CLUSTER_API_PORT (api.port)");
  });

  it("wants a coordinator's address on a machine that only works", async () => {
    expect((await failure(load({ OPENCLAW_CLUSTER_ROLES: "worker" }))).detail).toContain("coordinator.url");
    const config = await load({ OPENCLAW_CLUSTER_ROLES: "worker", OPENCLAW_CLUSTER_COORDINATOR_URL: "http://127.0.0.1:8888" });
    expect(config.roles).toEqual(["worker"]);
  });

  it("takes one address of a coordinator, or a bounded list, each of them bare", async () => {
    const urls = ["http://studio:8888", "https://nas:8888"];
    expect((await load({ OPENCLAW_CLUSTER_COORDINATOR_URL: urls.join(",") })).coordinator.url).toEqual(urls);
    expect((await load({ OPENCLAW_CLUSTER_COORDINATOR_URL: urls[0] as string })).coordinator.url).toBe(urls[0]);
    expect(patchFromText([["coordinator.url", "http://a,http://b"]])).toEqual({ coordinator: { url: ["http://a", "http://b"] } });
    await yaml(`roles: [worker]\ncoordinator:\n  url: [${urls.join(", ")}]\n`);
    expect((await load()).coordinator.url).toEqual(urls);
    const many = Array.from({ length: LIMITS.coordinatorUrlsMax + 1 }, (_, n) => `http://a${n}`).join(",");
    for (const bad of ["http://user:secret@a", "http://a,http://b/#secret", "ftp://a,http://b", many])
      expect(() => patchFromText([["coordinator.url", bad]]), bad).toThrow("coordinator.url");
  });
});

describe("saving", () => {
  it("keeps comments, order and everything else", async () => {
    await yaml("# ours\nclusterName: home # the flat\napi:\n  # changed in May\n  port: 9000 # not 8888\nslots: 4\n");
    expect(await saveConfig(home, { api: { port: 9001 }, labels: { gpu: "yes" }, slots: null })).toBe(true);
    expect(await read()).toBe(
      "# ours\nclusterName: home # the flat\napi:\n  # changed in May\n  port: 9001 # not 8888\nlabels:\n  gpu: yes\n",
    );
    expect((await load()).labels).toEqual({ gpu: "yes" });
  });

  it("makes the file, closed to others, and writes nothing when nothing changes", async () => {
    await rm(home, { recursive: true });
    await saveConfig(home, { clusterName: "new" });
    expect(await read()).toMatch(/^# Settings of this machine[\s\S]*\nclusterName: new\n$/);
    if (process.platform !== "win32") expect((await stat(join(home, "cluster.yaml"))).mode & 0o777).toBe(0o600);
    expect(await saveConfig(home, { clusterName: "new" })).toBe(false);
  });

  it("refuses what would not load, and a file that is broken already", async () => {
    await yaml("slots: 4\n");
    expect((await failure(saveConfig(home, { slots: 0 }))).code).toBe("config_invalid");
    expect(await read()).toBe("slots: 4\n");
    await yaml("slots: many\n");
    expect((await failure(saveConfig(home, { clusterName: "x" }))).detail).toContain("cluster.yaml:1: slots");
  });

  it("keeps the first node id for good", async () => {
    await keepNodeId(home, NodeId.parse("studio"));
    await keepNodeId(home, NodeId.parse("other"));
    expect((await load()).nodeId).toBe("studio");
  });
});

describe("fields", () => {
  it("turns a text into a patch", () => {
    expect(
      patchFromText([
        ["api.port", "9000"],
        ["api.host", "127.0.0.2"],
        ["roles", "worker"],
      ]),
    ).toEqual({ api: { port: 9000, host: "127.0.0.2" }, roles: ["worker"] });
    expect(patchWithout("api.port")).toEqual({ api: { port: null } });
    expect(() => patchFromText([["api.prot", "1"]])).toThrow("there is no setting api.prot");
    expect(() => patchFromText([["api.port", "x"]])).toThrow("api.port");
  });

  it("are found by name, sections too", async () => {
    const config = await load({}, { api: { port: 7 } });
    expect(settingNamed(config, "api.port")).toBe(7);
    expect(settingNamed(config, "api")).toEqual(config.api);
    expect(settingNamed(config, "nats.binary")).toBeUndefined();
    expect(() => settingNamed(config, "constructor")).toThrow("no setting");
  });

  it("have a description and a variable of their own, and stand in the JSON Schema", () => {
    expect(FIELDS.every((field) => field.description.length > 10 && field.env.startsWith("OPENCLAW_CLUSTER_"))).toBe(true);
    expect(new Set(FIELDS.map((field) => field.env)).size).toBe(FIELDS.length);
    const text = JSON.stringify(configJsonSchema());
    for (const field of FIELDS) expect(text).toContain(field.env);
  });

  it("stand in docs/cli.md, every one", async () => {
    const page = await readFile(new URL("../../../docs/cli.md", import.meta.url), "utf8");
    for (const field of FIELDS) expect(page).toContain(`| \`${field.name}\` | \`${field.env}\` |`);
  });
});

describe("defaults of a machine", () => {
  it.each([
    ["Studio.local", "studio"],
    ["Li's MacBook-Pro.lan", "lismacbookpro"],
    ["张三的MacBook", "macbook"],
    ["a".repeat(60), "a".repeat(32)],
  ])("%s is called %s", (host, id) => expect(nodeIdFrom(host)).toBe(id));

  it("gives a name without a usable letter one that stays", () => {
    expect(nodeIdFrom("书房")).toMatch(/^n[0-9a-f]{8}$/);
    expect(nodeIdFrom("书房")).toBe(nodeIdFrom("书房"));
    expect(nodeIdFrom("书房")).not.toBe(nodeIdFrom("客厅"));
  });

  it("keeps finished tasks as its store can bear, unless somebody says otherwise", async () => {
    const etcd = { OPENCLAW_CLUSTER_STORE: "etcd" };
    expect((await load(etcd)).retention).toEqual({ days: 7, tasks: 20_000 });
    await yaml("retention: {tasks: 500}\n");
    expect((await load(etcd)).retention).toEqual({ days: 7, tasks: 500 });
    expect((await load()).retention).toEqual({ days: 30, tasks: 500 });
    expect((await load({ ...etcd, OPENCLAW_CLUSTER_RETENTION_TASKS: "0", OPENCLAW_CLUSTER_RETENTION_DAYS: "90" })).retention).toEqual({
      days: 90,
      tasks: 0,
    });
  });

  it("has 2 to 8 slots", () => expect([1, 2, 6, 64].map(slotsFor)).toEqual([2, 2, 6, 8]));
});
