import { chmod, mkdtemp, readFile, rm, stat, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect, it } from "vitest";
import { foldersOf, makeFolders, type Folders } from "../system/folders.ts";
import type { Authority } from "../trust/authority.ts";
import { createNodeKeys } from "../trust/keys.ts";
import { loadAuthority } from "./authority-files.ts";

const { publicKey } = createNodeKeys();

let folders: Folders;
beforeEach(async () => {
  folders = foldersOf(await mkdtemp(join(tmpdir(), "authority-")));
  await makeFolders(folders);
});
afterEach(() => rm(folders.home, { recursive: true }));

const load = (key = publicKey): Promise<Authority> => loadAuthority(folders, key, Date.now());

it("is made once, in files that are closed to others, and is the same at every further start", async () => {
  const made = await load();
  expect(await readFile(folders.authority, "utf8")).toBe(made.certificate);
  for (const file of [folders.authority, folders.authorityKey])
    if (process.platform !== "win32") expect((await stat(file)).mode & 0o777).toBe(0o600);
  expect(await load()).toMatchObject({ certificate: made.certificate, pin: made.pin });
});

it("goes on with the same key where a start was killed before the certificate was there (F1)", async () => {
  await load();
  const key = await readFile(folders.authorityKey, "utf8");
  await rm(folders.authority);
  await load();
  expect(await readFile(folders.authorityKey, "utf8")).toBe(key);
});

it("is not made anew over a loss: without its key, or with what is no key, the start ends and nothing is changed", async () => {
  const { certificate } = await load();
  await rm(folders.authorityKey);
  await expect(load()).rejects.toMatchObject({ code: "config_invalid", detail: expect.stringContaining("its key") as string });
  await writeFile(folders.authorityKey, "", { mode: 0o600 });
  await expect(load()).rejects.toMatchObject({ code: "config_invalid", detail: expect.stringContaining("holds no private key") as string });
  expect(await readFile(folders.authority, "utf8")).toBe(certificate);
});

it("belongs to the coordinator's key", async () => {
  await load();
  await expect(load(createNodeKeys().publicKey)).rejects.toMatchObject({
    code: "config_invalid",
    detail: expect.stringContaining("another key of the coordinator's") as string,
  });
});

it.skipIf(process.platform === "win32")("is not opened with a key that others can read (F2)", async () => {
  await load();
  await chmod(folders.authorityKey, 0o640);
  await expect(load()).rejects.toMatchObject({
    code: "config_invalid",
    detail: expect.stringContaining(`chmod 600 ${folders.authorityKey}`) as string,
  });
});
