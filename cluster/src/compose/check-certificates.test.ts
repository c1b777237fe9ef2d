/** What doctor says of certificates: none, good, near their end, over, lost, and shown by a server that runs. */
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { startApi } from "../../../tests/support/api-server.ts";
import { loadConfig, type ClusterConfig } from "../system/config.ts";
import { foldersOf, makeFolders, writePrivateFile, type Folders } from "../system/folders.ts";
import type { Authority } from "../trust/authority.ts";
import { createNodeKeys } from "../trust/keys.ts";
import { loadAuthority } from "./authority-files.ts";
import { checkAuthority, checkJoinedAuthority, checkShownCertificate } from "./check-certificates.ts";

const DAY_MS = 86_400_000;
const YEAR_MS = 365.25 * DAY_MS;
const NOW = Date.now();
const said = (text: string | RegExp): string =>
  (typeof text === "string" ? expect.stringContaining(text) : expect.stringMatching(text)) as string;

let folders: Folders;
beforeEach(async () => {
  folders = foldersOf(await mkdtemp(join(tmpdir(), "certificates-")));
  await makeFolders(folders);
});
afterEach(() => rm(folders.home, { recursive: true }));

const made = (): Promise<Authority> => loadAuthority(folders, createNodeKeys().publicKey, NOW);

describe("the coordinator's authority", () => {
  it("is made by the first start, and lasts", async () => {
    expect(await checkAuthority(folders)).toMatchObject({ level: "ok", found: said("not made yet") });
    await made();
    expect(await checkAuthority(folders)).toMatchObject({ level: "ok", found: said(/^good until 20\d\d-/) });
  });

  it("has an end that is told half a year before it, and a clock that may be wrong", async () => {
    await made();
    const at = (now: number) => checkAuthority(folders, now);
    expect((await at(NOW + 19 * YEAR_MS)).level).toBe("ok");
    expect(await at(NOW + 19.7 * YEAR_MS)).toMatchObject({ level: "warn", advice: said("has to join again") });
    expect(await at(NOW + 21 * YEAR_MS)).toMatchObject({ level: "fail", found: said("which is over") });
    expect(await at(0)).toMatchObject({ level: "fail", advice: "Set the clock." });
  });

  it("may be lost in part", async () => {
    await made();
    await rm(folders.authority);
    expect(await checkAuthority(folders)).toMatchObject({ level: "warn", found: said("authority.pem is not there") });
    await writeFile(folders.authority, "x");
    expect(await checkAuthority(folders)).toMatchObject({ level: "fail", found: said("holds no certificate") });
    await rm(folders.authorityKey);
    expect(await checkAuthority(folders)).toMatchObject({ level: "fail", found: said("authority.key, is not there") });
  });
});

describe("what the daemon of this folder shows", () => {
  it("is nothing where it does not run, or speaks no TLS", async () => {
    expect((await checkShownCertificate(folders)).level).toBe("ok");
    await writePrivateFile(folders.apiUrl, "http://127.0.0.1:8888\n");
    expect(await checkShownCertificate(folders)).toMatchObject({ level: "ok", found: said("plain HTTP") });
    await writePrivateFile(folders.apiUrl, "https://127.0.0.1:1\n");
    expect(await checkShownCertificate(folders)).toMatchObject({ level: "warn", found: said("shows none") });
  });

  it("has an end, which is told when no other one has come in time", async () => {
    const authority = await made();
    const api = await startApi({ certificate: authority.certify(["127.0.0.1"], NOW) });
    try {
      await writePrivateFile(folders.apiUrl, `${api.url}\n`);
      expect(await checkShownCertificate(folders, NOW + 60 * DAY_MS)).toMatchObject({ level: "ok", found: said(/^good until/) });
      expect(await checkShownCertificate(folders, NOW + 70 * DAY_MS)).toMatchObject({ level: "warn", advice: said("its log says why") });
      expect(await checkShownCertificate(folders, NOW + 91 * DAY_MS)).toMatchObject({ level: "fail" });
    } finally {
      await api.close();
    }
  });
});

describe("what a node knows its coordinator by", () => {
  const config = (url: string, more: object = {}): Promise<ClusterConfig> =>
    loadConfig({ home: folders.home, env: {}, flags: { roles: ["worker"], coordinator: { url, ...more } } });

  it("is needed where that speaks TLS", async () => {
    expect(await checkJoinedAuthority(await config("http://127.0.0.1:8888"), folders)).toMatchObject({ level: "ok", found: "none needed" });
    const overTls = await config("https://192.168.1.5:8888");
    expect(await checkJoinedAuthority(overTls, folders)).toMatchObject({
      level: "fail",
      found: said("coordinator.pem"),
      advice: said("invite"),
    });
    const { certificate } = await made();
    await writePrivateFile(folders.coordinatorAuthority, certificate);
    expect(await checkJoinedAuthority(overTls, folders)).toMatchObject({ level: "ok", found: said("good until") });
    expect((await checkJoinedAuthority(overTls, folders, NOW + 21 * YEAR_MS)).level).toBe("fail");
    const named = await config("https://192.168.1.5:8888", { caFile: join(folders.home, "none.pem") });
    expect(await checkJoinedAuthority(named, folders)).toMatchObject({ level: "fail", found: said("none.pem") });
  });
});
