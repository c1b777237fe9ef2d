import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { startApi, type TestApi } from "../../../tests/support/api-server.ts";
import { runCli, type CliOptions } from "../../../tests/support/terminal.ts";

let api: TestApi;
let home: string;
let env: Record<string, string>;
beforeEach(async () => {
  api = await startApi();
  home = await mkdtemp(join(tmpdir(), "cli-"));
  env = { OPENCLAW_CLUSTER_HOME: home, OPENCLAW_CLUSTER_URL: api.url, OPENCLAW_CLUSTER_TOKEN: api.tokens.admin };
});
afterEach(async () => {
  await api.close();
  await rm(home, { recursive: true });
});

const cli = (argv: readonly string[], options: CliOptions = {}): ReturnType<typeof runCli> => runCli(argv, { env, ...options });
describe("store migrate", () => {
  const done = { phase: "done", copied: 3, endedAt: 1_795_395_660_000, stopMs: 412 } as const;

  it("begins, watches, and says how long intake stood still", async () => {
    api.coordinator.moves.push({ copied: 2 }, { phase: "switching", behind: 7 }, done);
    const { code, stdout } = await cli(["store", "migrate", "--to", "etcd", "--endpoints", "http://127.0.0.1:2379"]);
    expect(code).toBe(0);
    expect(stdout).toBe("the store is in etcd now: 3 tasks copied, compared, and all that came meanwhile; intake stood still for 0.41 s\n");
    // Typed again after its end it is another one.
    api.coordinator.moves.push({}, done);
    const again = await cli(["store", "migrate", "--to", "etcd", "--json"]);
    expect(JSON.parse(again.stdout)).toMatchObject({ ok: true, to: "etcd", stopMs: 412 });
  });

  it("shows on a screen how far it is", async () => {
    api.coordinator.moves.push({ copied: 2 }, done);
    const { stderr } = await cli(["store", "migrate", "--to", "sqlite"], { columns: 80 });
    expect(stderr).toContain("copying, 2 of 3 tasks");
  });

  it("tells why it failed, with the error's own exit code", async () => {
    api.coordinator.moves.push({ phase: "failed", endedAt: 1_795_395_660_000, error: { code: "storage_full", detail: "etcd is full" } });
    const failed = await cli(["store", "migrate", "--to", "etcd"]);
    expect(failed).toMatchObject({ code: 1, stderr: expect.stringContaining("is as before: etcd is full (storage_full)") });
  });

  it("knows two kinds, and endpoints only for one of them", async () => {
    expect((await cli(["store", "migrate", "--to", "ram"])).code).toBe(2);
    expect((await cli(["store", "migrate", "--to", "sqlite", "--endpoints", "http://127.0.0.1:2379"])).code).toBe(2);
  });
});
