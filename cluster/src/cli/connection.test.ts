import { chmod, mkdir, mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { findConnection, type Connection, type ConnectionFlags } from "./connection.ts";

let home: string;
let warnings: string[];
beforeEach(async () => {
  home = await mkdtemp(join(tmpdir(), "connection-"));
  warnings = [];
  await put("admin.token", "secret-of-home\n");
});
afterEach(async () => {
  await rm(home, { recursive: true });
});

const put = async (name: string, text: string): Promise<string> => {
  const file = join(home, name);
  await mkdir(join(file, ".."), { recursive: true });
  await writeFile(file, text, { mode: 0o600 });
  return file;
};
const find = (flags: ConnectionFlags = {}, env: Record<string, string> = {}): Promise<Connection> =>
  findConnection({ home, ...flags }, env, (text) => warnings.push(text));

describe("where the coordinator is", () => {
  it("is this home's own, unless something says otherwise", async () => {
    expect(await find()).toEqual({ urls: ["http://127.0.0.1:8888"], token: "secret-of-home" });
    await put("cluster.yaml", "api: {port: 9000, host: 127.0.0.3}\n");
    expect((await find()).urls[0]).toBe("http://127.0.0.3:9000");
    await put("cluster.yaml", 'api: {host: "::1"}\n');
    expect((await find()).urls[0]).toBe("http://[::1]:8888");
  });

  it("is where the running daemon says it is", async () => {
    await put("cluster.yaml", "api: {port: 0}\n");
    await expect(find()).rejects.toMatchObject({ code: "coordinator_unreachable" });
    await put("data/api.url", "http://127.0.0.1:40001\n");
    expect((await find()).urls[0]).toBe("http://127.0.0.1:40001");
  });

  it("is another machine for one that only works", async () => {
    const tokenFile = await put("coordinator.token", "secret-of-coordinator\n");
    await put("cluster.yaml", `roles: [worker]\ncoordinator: {url: "http://studio:8888/", tokenFile: "${tokenFile}"}\n`);
    expect(await find()).toEqual({ urls: ["http://studio:8888"], token: "secret-of-coordinator" });
  });

  it("is several machines, where the settings say so or the coordinator has told of them", async () => {
    await put("coordinator.token", "secret-of-coordinator\n");
    const urls = ["http://studio:8888", "https://nas:8888"];
    await put("cluster.yaml", `roles: [worker]\ncoordinator: {url: ${JSON.stringify(urls)}}\n`);
    expect(await find()).toEqual({ urls, token: "secret-of-coordinator" });
    await put("coordinator.key", "UTHIS\n");
    const kept = (coordinatorKey: string): Promise<string> =>
      put("data/coordinators.json", JSON.stringify({ coordinatorKey, urls: ["https://nas:8888", "http://attic:8888"] }));
    await kept("UTHIS");
    expect((await find()).urls).toEqual([...urls, "http://attic:8888"]);
    expect(await find({ url: "http://attic:8888,http://127.0.0.1:9" })).toMatchObject({ token: "secret-of-coordinator" });
    await kept("UOTHER");
    expect((await find()).urls).toEqual(urls);
    await expect(find({ url: "http://studio:8888,http://attic:8888" })).rejects.toMatchObject({
      code: "unauthorized",
      detail: expect.stringContaining("no token for http://attic:8888") as string,
    });
  });

  it("is what the flag says, else the variable, and no file is read then", async () => {
    await put("cluster.yaml", "broken: [\n");
    const env = { OPENCLAW_CLUSTER_URL: "http://b:1", OPENCLAW_CLUSTER_TOKEN: "t" };
    expect(await find({ url: "https://a:2/" }, env)).toEqual({ urls: ["https://a:2"], token: "t" });
    expect(await find({}, env)).toEqual({ urls: ["http://b:1"], token: "t" });
    await expect(find()).rejects.toMatchObject({ code: "config_invalid" });
  });

  it.each([
    "studio:8888",
    "ftp://a",
    "nonsense",
    "http://user:secret@a",
    "htp://user:secret@a",
    "http://a/?token=secret",
    "http://a/#token=secret",
  ])("is not %s", async (url) => {
    await expect(find({ url })).rejects.toMatchObject({ code: "usage", detail: expect.not.stringContaining("secret") });
  });
});

describe("which token", () => {
  it("is the flag's, then the file's, then the variable's, then the home's", async () => {
    const tokenFile = await put("other.token", "of-file\n");
    const env = { OPENCLAW_CLUSTER_TOKEN: "of-env" };
    expect((await find({ token: "of-flag", tokenFile }, env)).token).toBe("of-flag");
    expect(warnings).toEqual([expect.stringContaining("--token can be read by every user")]);
    expect((await find({ tokenFile }, env)).token).toBe("of-file");
    expect((await find({}, env)).token).toBe("of-env");
    expect((await find()).token).toBe("secret-of-home");
    expect(warnings).toHaveLength(1);
  });

  it("of the home goes to no stranger (K1)", async () => {
    await expect(find({ url: "http://elsewhere:8888" })).rejects.toMatchObject({ code: "unauthorized" });
    expect((await find({ url: "http://localhost:40002" })).token).toBe("secret-of-home");
  });

  it("is missed in words that help", async () => {
    await rm(join(home, "admin.token"));
    await expect(find()).rejects.toMatchObject({
      code: "coordinator_unreachable",
      detail: expect.stringContaining("openclaw-cluster start"),
    });
    await expect(find({ url: "http://127.0.0.1:1" })).rejects.toMatchObject({ code: "unauthorized" });
    await expect(find({ tokenFile: join(home, "none") })).rejects.toMatchObject({ code: "unauthorized" });
  });

  it.skipIf(process.getuid?.() === 0 || process.platform === "win32")("that may not be read is an error of ours, not a crash", async () => {
    await chmod(join(home, "admin.token"), 0);
    await expect(find()).rejects.toMatchObject({ code: "unauthorized" });
  });
});
