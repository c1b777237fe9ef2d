import { mkdtemp, readdir, rm, stat, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, describe, expect, it } from "vitest";
import { cacheFolder, clusterHome, foldersOf, logFile, makeFolders, readSecret, writePrivateFile, type Machine } from "./folders.ts";

const linux: Machine = { platform: "linux", userHome: "/home/ann" };
const mac: Machine = { platform: "darwin", userHome: "/Users/ann" };
const windows: Machine = { platform: "win32", userHome: "C:\\Users\\安" };

describe("where the home is", () => {
  const env = { OPENCLAW_CLUSTER_HOME: "/srv/cluster", OPENCLAW_STATE_DIR: "/srv/openclaw" };

  it("takes the flag, then its variable, then OpenClaw's folder, then the default", () => {
    expect(clusterHome({ home: "/elsewhere", env }, linux)).toBe("/elsewhere");
    expect(clusterHome({ env }, linux)).toBe("/srv/cluster");
    expect(clusterHome({ env: { OPENCLAW_STATE_DIR: "/srv/openclaw" } }, linux)).toBe("/srv/openclaw/cluster");
    expect(clusterHome({ env: {} }, linux)).toBe("/home/ann/.openclaw/cluster");
    expect(clusterHome({ env: {} }, mac)).toBe("/Users/ann/.openclaw/cluster");
  });

  it("takes an empty variable as none", () => {
    expect(clusterHome({ env: { OPENCLAW_CLUSTER_HOME: "", OPENCLAW_STATE_DIR: "" } }, linux)).toBe("/home/ann/.openclaw/cluster");
  });

  it("expands ~ and speaks Windows paths", () => {
    expect(clusterHome({ env: { OPENCLAW_CLUSTER_HOME: "~/c" } }, linux)).toBe("/home/ann/c");
    expect(clusterHome({ home: "~\\c", env: {} }, windows)).toBe("C:\\Users\\安\\c");
    expect(clusterHome({ env: {} }, windows)).toBe("C:\\Users\\安\\.openclaw\\cluster");
    expect(clusterHome({ env: { OPENCLAW_STATE_DIR: "D:\\oc" } }, windows)).toBe("D:\\oc\\cluster");
  });

  it("keeps the cache where each system wants it", () => {
    expect(cacheFolder({}, linux)).toBe("/home/ann/.cache/openclaw-cluster");
    expect(cacheFolder({ XDG_CACHE_HOME: "/c" }, linux)).toBe("/c/openclaw-cluster");
    expect(cacheFolder({}, mac)).toBe("/Users/ann/Library/Caches/openclaw-cluster");
    expect(cacheFolder({ LOCALAPPDATA: "C:\\L" }, windows)).toBe("C:\\L\\openclaw-cluster\\cache");
    expect(cacheFolder({ OPENCLAW_CLUSTER_CACHE: "~/x" }, linux)).toBe("/home/ann/x");
  });

  it("names the log by the day", () => {
    expect(logFile(foldersOf("/h"), new Date(Date.UTC(2026, 10, 22, 23, 59)))).toBe(join("/h", "logs", "openclaw-cluster-2026-11-22.log"));
  });
});

describe("what is in it", () => {
  const made: string[] = [];
  afterEach(async () => {
    for (const folder of made.splice(0)) await rm(folder, { recursive: true });
  });
  const fresh = async (): Promise<string> => {
    const folder = await mkdtemp(join(tmpdir(), "folders-"));
    made.push(folder);
    return folder;
  };

  it.skipIf(process.platform === "win32")("is closed to others, also where it was open (F1)", async () => {
    const folders = foldersOf(join(await fresh(), "a", "b"));
    await makeFolders(folders);
    await makeFolders(folders);
    for (const folder of [folders.home, folders.data, folders.logs]) expect((await stat(folder)).mode & 0o777).toBe(0o700);
  });

  it("replaces a secret whole and leaves no draft", async () => {
    const { home, adminToken } = foldersOf(await fresh());
    await writeFile(adminToken, "old\n", { mode: 0o644 });
    await writePrivateFile(adminToken, "new\n");
    expect(await readSecret(adminToken)).toBe("new");
    expect(await readdir(home)).toEqual(["admin.token"]);
    if (process.platform !== "win32") expect((await stat(adminToken)).mode & 0o777).toBe(0o600);
  });

  it("tells a missing or empty secret from one", async () => {
    const { adminToken } = foldersOf(await fresh());
    expect(await readSecret(adminToken)).toBeUndefined();
    await writeFile(adminToken, "\n");
    expect(await readSecret(adminToken)).toBeUndefined();
  });
});

it("a home that can be no folder is told as a mistake of the settings", async () => {
  const folder = await mkdtemp(join(tmpdir(), "no-folder-"));
  const file = join(folder, "file");
  await writeFile(file, "");
  for (const home of [file, join(file, "below")]) {
    await expect(makeFolders(foldersOf(home))).rejects.toMatchObject({ code: "config_invalid" });
  }
  await rm(folder, { recursive: true });
});
