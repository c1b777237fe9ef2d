/** Commands against an API that speaks TLS: joining by a code's pin, and what the command line believes afterwards. */
import { mkdtemp, readFile, rm, stat, writeFile } from "node:fs/promises";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { startApi, type TestApi } from "../../../tests/support/api-server.ts";
import { makeAuthority } from "../../../tests/support/authority.ts";
import { runCli } from "../../../tests/support/terminal.ts";
import { openTlsListener, type TlsListener } from "../../../tests/support/tls-listener.ts";
import { foldersOf, makeFolders, writePrivateFile } from "../system/folders.ts";
import type { Authority } from "../trust/authority.ts";

const HOSTS = ["127.0.0.1"];

let authority: Authority;
let api: TestApi;
let home: string;
const cleanUp: (() => Promise<unknown>)[] = [];
beforeEach(async () => {
  authority = makeAuthority();
  api = await startApi({ certificate: authority.certify(HOSTS, Date.now()) });
  api.coordinator.authority = authority;
  api.coordinator.apiUrls = [api.url];
  home = await mkdtemp(join(tmpdir(), "cli-tls-"));
});
afterEach(async () => {
  for (const step of cleanUp.splice(0)) await step();
  await api.close();
  await rm(home, { recursive: true });
});

/** As on a machine that knows nothing yet. */
const there = (...argv: string[]) => runCli(argv, { env: { OPENCLAW_CLUSTER_HOME: home } });
const makeCode = async (): Promise<string> => (await api.coordinator.invite({ approve: true, ttlMs: 60_000 })).code;
const kept = (name: string): Promise<string> => readFile(join(home, name), "utf8");

async function listen(cert: string, key: string): Promise<TlsListener> {
  const listener = await openTlsListener({ cert, key });
  cleanUp.push(() => listener.close());
  return listener;
}

describe("join", () => {
  it("goes to the coordinator of the pin, and keeps its authority's certificate", async () => {
    expect(await there("join", await makeCode(), "--no-start", "--node-id", "nas")).toMatchObject({ code: 0, stderr: "" });
    expect(await kept("data/coordinator.pem")).toBe(authority.certificate);
    if (process.platform !== "win32") expect((await stat(join(home, "data/coordinator.pem"))).mode & 0o777).toBe(0o600);
    expect(await kept("cluster.yaml")).toContain(`url: ${api.url}\n`);
  });

  it("says nothing to a man in the middle: not to one of another authority, nor to one who shows the right one without being certified by it", async () => {
    const other = makeAuthority();
    const own = other.certify(HOSTS, Date.now());
    const alone = own.chain.slice(0, own.chain.indexOf("-----BEGIN", 1));
    for (const chain of [own.chain, alone, alone + authority.certificate]) {
      const middle = await listen(chain, own.key);
      const refused = await there("join", await makeCode(), "--no-start", "--url", `https://127.0.0.1:${middle.port}`);
      expect(refused).toMatchObject({ code: 1, stderr: expect.stringContaining("(certificate_refused)") as string });
      expect(middle.connections).toBeGreaterThan(0);
      expect(await middle.heard()).toBe("");
    }
    expect(api.coordinator.joins).toEqual([]);
    await expect(kept("cluster.yaml")).rejects.toThrow("ENOENT");
    await expect(kept("data/coordinator.pem")).rejects.toThrow("ENOENT");
  });

  it("over plain HTTP looks at the pin when the answer is there, and keeps nothing of another authority", async () => {
    const plain = await startApi();
    cleanUp.push(() => plain.close());
    plain.coordinator.authority = authority;
    plain.coordinator.apiUrls = [plain.url];
    const { code } = await plain.coordinator.invite({ approve: true, ttlMs: 60_000 });
    plain.coordinator.authority = makeAuthority();
    expect(await there("join", code, "--no-start")).toMatchObject({
      code: 1,
      stderr: expect.stringContaining("not the coordinator that made it") as string,
    });
    await expect(kept("data/coordinator.pem")).rejects.toThrow("ENOENT");
    plain.coordinator.authority = authority;
    expect(await there("join", code, "--no-start")).toMatchObject({ code: 0 });
    expect(await kept("data/coordinator.pem")).toBe(authority.certificate);
  });

  it("says where nobody speaks TLS, or nobody speaks", async () => {
    const plain = createServer((_request, answer) => answer.end("ok"));
    await new Promise<void>((resolve) => plain.listen(0, "127.0.0.1", resolve));
    cleanUp.push(() => new Promise((resolve) => plain.close(resolve)));
    const { port } = plain.address() as AddressInfo;
    expect(await there("join", await makeCode(), "--no-start", "--url", `https://127.0.0.1:${port}`)).toMatchObject({
      code: 1,
      stderr: expect.stringContaining("does not speak TLS") as string,
    });
    expect(await there("join", await makeCode(), "--no-start", "--url", "https://127.0.0.1:1")).toMatchObject({
      code: 1,
      stderr: expect.stringMatching(/ECONNREFUSED.*coordinator_unreachable/) as string,
    });
  });
});

describe("a command", () => {
  const status = (argv: readonly string[] = [], more: Record<string, string> = {}) =>
    runCli(["status", ...argv], { env: { OPENCLAW_CLUSTER_HOME: home, OPENCLAW_CLUSTER_TOKEN: api.tokens.admin, ...more } });

  it("on the coordinator's machine believes the authority beside the daemon's address", async () => {
    const folders = foldersOf(home);
    await makeFolders(folders);
    await writePrivateFile(folders.apiUrl, `${api.url}\n`);
    expect(await status()).toMatchObject({ code: 1, stderr: expect.stringContaining("--ca") as string });
    await writePrivateFile(folders.authority, authority.certificate);
    expect(await status()).toMatchObject({ code: 0, stderr: "" });
    await writePrivateFile(folders.authority, makeAuthority().certificate);
    expect(await status()).toMatchObject({
      code: 1,
      stderr: expect.stringContaining(`the authority in ${folders.authority} has not certified`) as string,
    });
  });

  it("on a machine that has joined believes what join has kept, also for an address that was typed", async () => {
    await there("join", await makeCode(), "--no-start");
    expect(await status()).toMatchObject({ code: 0, stderr: "" });
    expect(await status(["--url", api.url])).toMatchObject({ code: 0, stderr: "" });
  });

  it("elsewhere believes the file that --ca or the variable names, and that alone", async () => {
    const [right, wrong, none] = ["right.pem", "wrong.pem", "key.pem"].map((name) => join(home, name)) as [string, string, string];
    await writeFile(right, authority.certificate);
    await writeFile(wrong, makeAuthority().certificate);
    await writeFile(none, "-----BEGIN PRIVATE KEY-----\nsecret\n");
    const url = ["--url", api.url];
    expect(await status(url)).toMatchObject({ code: 1, stderr: expect.stringContaining("(certificate_refused)") as string });
    expect(await status([...url, "--ca", right])).toMatchObject({ code: 0, stderr: "" });
    expect(await status(url, { OPENCLAW_CLUSTER_CA: right })).toMatchObject({ code: 0 });
    expect(await status([...url, "--ca", wrong], { OPENCLAW_CLUSTER_CA: right })).toMatchObject({
      code: 1,
      stderr: expect.stringContaining(wrong) as string,
    });
    const broken = await status([...url, "--ca", none]);
    expect(broken).toMatchObject({ code: 2, stderr: expect.stringContaining("holds no certificate") as string });
    expect(broken.stderr).not.toContain("secret");
    expect(await status([...url, "--ca", join(home, "nothing.pem")])).toMatchObject({
      code: 1,
      stderr: expect.stringContaining("there is no") as string,
    });
  });
});
