import { mkdirSync, mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { createServer, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import path from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { runCli, type CliOptions, type CliRun } from "../../../tests/support/terminal.ts";

const KEY = "ocm_a-key-that-nobody-may-see";
/** As a person writes it. */
const SETTINGS =
  "// mine\n{\n  gateway: { port: 18789 },\n  models: {\n    providers: {\n      home: { baseUrl: 'http://127.0.0.1:1/v1', models: [] }, // slow\n    },\n  },\n}\n";

let folder: string;
let server: Server;
let list: object[];
let key: string;
beforeEach(async () => {
  folder = mkdtempSync(path.join(tmpdir(), "ocx-connect-"));
  mkdirSync(path.join(folder, "home", "data"), { recursive: true });
  mkdirSync(path.join(folder, "state"));
  writeFileSync(settingsFile(), SETTINGS);
  list = [{ id: "auto" }, { id: "qwen3:8b", context_length: 40_960 }, { id: "small", context_length: 8_192 }];
  key = KEY;
  await listen();
  writeFileSync(path.join(folder, "home", "models.key"), `${KEY}\n`);
});
afterEach(async () => {
  await new Promise((closed) => server.close(closed));
  rmSync(folder, { recursive: true });
});

async function listen(): Promise<void> {
  server = createServer((request, response) => {
    response.statusCode = request.headers.authorization === `Bearer ${key}` ? 200 : 401;
    response.end(JSON.stringify({ object: "list", data: list }));
  });
  await new Promise<void>((listening) => server.listen(0, "127.0.0.1", listening));
  writeFileSync(path.join(folder, "home", "data", "models.port"), `${(server.address() as AddressInfo).port}\n`);
}
const settingsFile = (): string => path.join(folder, "state", "openclaw.json");
const settings = (): string => readFileSync(settingsFile(), "utf8");
const url = (): string => `http://127.0.0.1:${(server.address() as AddressInfo).port}/v1`;
async function models(line: string, options: CliOptions = {}): Promise<CliRun> {
  const env = { OPENCLAW_STATE_DIR: path.join(folder, "state"), PATH: "" };
  const run = await runCli(["models", ...line.split(" "), "--home", path.join(folder, "home")], { env, ...options });
  expect(run.stdout + run.stderr).not.toContain(KEY);
  return run;
}

describe("models connect", () => {
  it("shows what it would write, and writes nothing", async () => {
    const shown = await models("connect --dry-run");
    expect([shown.code, shown.stdout]).toEqual([0, expect.stringContaining(`+   "baseUrl": "${url()}"`)]);
    const { after } = JSON.parse((await models("connect --dry-run --json")).stdout);
    expect(after).toMatchObject({
      ...{ baseUrl: url(), apiKey: "ocm_…", api: "openai-completions", timeoutSeconds: 300 },
      models: [{ id: "auto", contextWindow: 40_960, maxTokens: 8_192, compat: { supportsTools: true } }],
    });
    expect(settings()).toBe(SETTINGS);
  });

  it("asks, and takes no for an answer; where nobody can be asked it wants --yes", async () => {
    const asked = await models("connect", { columns: 100, input: "n" });
    expect([asked.code, asked.stderr]).toEqual([2, expect.stringContaining("Write this? [y/N]")]);
    expect((await models("connect")).stderr).toContain("--yes");
    expect(settings()).toBe(SETTINGS);
    expect((await models("connect", { columns: 100, input: "y" })).code).toBe(0);
    expect(settings()).toContain(KEY);
  });

  it("adds one provider, keeps a copy, and disconnect leaves the text as it was", async () => {
    const done = JSON.parse((await models("connect --yes --json --model qwen3:8b")).stdout);
    expect(done).toMatchObject({ ok: true, changed: true, file: settingsFile(), after: { models: [{ id: "auto" }, { id: "qwen3:8b" }] } });
    expect(readFileSync(done.backup, "utf8")).toBe(SETTINGS);
    if (process.platform !== "win32") expect(statSync(settingsFile()).mode & 0o777).toBe(0o600);
    expect(settings()).toContain("// slow\n");
    expect((await models("connect --yes")).stdout).toContain("has it already");
    expect((await models("disconnect --yes")).code).toBe(0);
    expect(settings()).toBe(SETTINGS);
    expect((await models("disconnect --yes")).stdout).toContain("no provider of ours");
  });

  it("takes what it made around it away again", async () => {
    writeFileSync(settingsFile(), '{\n  "gateway": {}\n}\n');
    await models("connect --yes");
    writeFileSync(settingsFile(), settings().replace('"gateway": {}', '"gateway": { "port": 1 }'));
    await models("disconnect --yes");
    expect(settings()).toBe('{\n  "gateway": { "port": 1 }\n}\n');
  });

  it("follows the endpoint to another port, and keeps what a person has added", async () => {
    await models("connect --yes");
    writeFileSync(settingsFile(), settings().replace('"timeoutSeconds": 300', '"timeoutSeconds": 900'));
    await new Promise((closed) => server.close(closed));
    await listen();
    const { before, after } = JSON.parse((await models("connect --yes --json")).stdout);
    expect([before.baseUrl === url(), after]).toMatchObject([false, { baseUrl: url(), timeoutSeconds: 900 }]);
  });

  it("leaves another provider of that name alone, until it is told otherwise", async () => {
    const foreign = '{ "models": { "providers": { "cluster": { "baseUrl": "http://10.0.0.1/v1", "apiKey": "theirs", "models": [] } } } }';
    writeFileSync(settingsFile(), foreign);
    for (const verb of ["connect", "disconnect"]) {
      const refused = await models(`${verb} --yes`);
      expect([refused.code, refused.stderr]).toEqual([2, expect.stringContaining("not ours")]);
    }
    expect(settings()).toBe(foreign);
    const replaced = await models("connect --yes --replace");
    expect([replaced.code, replaced.stdout.includes("theirs"), settings().includes("theirs")]).toEqual([0, false, false]);
  });

  it("says what is missing: the daemon, its key, OpenClaw, a context", async () => {
    list = [];
    const empty = await models("connect --dry-run");
    expect([empty.code, empty.stderr]).toEqual([0, expect.stringContaining("no node lends a model")]);
    list = [{ id: "small", context_length: 8_192 }];
    expect((await models("connect --dry-run")).stderr).toContain("8192 tokens are few");
    key = "ocm_another";
    expect((await models("connect --yes")).stderr).toContain("does not take the key");
    await new Promise((closed) => server.close(closed));
    expect((await models("connect --yes")).stderr).toContain("openclaw-cluster start");
    await listen();
    rmSync(settingsFile());
    expect((await models("connect --yes")).stderr).toContain("openclaw onboard");
  });

  it("doctor sees that the endpoint has moved", async () => {
    await models("connect --yes");
    const doctor = async (): Promise<Record<string, { level: string; advice?: string }>> => {
      const env = { OPENCLAW_STATE_DIR: path.join(folder, "state"), PATH: "" };
      const { stdout } = await runCli(["doctor", "--json", "--home", path.join(folder, "home")], { env });
      const { checks } = JSON.parse(stdout) as { checks: { name: string; level: string }[] };
      return Object.fromEntries(checks.map((check) => [check.name, check]));
    };
    expect(await doctor()).toMatchObject({ models: { level: "ok" }, "OpenClaw's models": { level: "ok" } });
    await new Promise((closed) => server.close(closed));
    expect(await doctor()).toMatchObject({ models: { level: "warn" }, "OpenClaw's models": { level: "ok" } });
    await listen();
    expect(await doctor()).toMatchObject({
      models: { level: "ok" },
      "OpenClaw's models": { level: "warn", advice: expect.stringContaining("models connect") as string },
    });
  });
});
