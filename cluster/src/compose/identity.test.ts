import { mkdtemp, readFile, rm, stat, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import path from "node:path";
import { afterEach, beforeEach, expect, it } from "vitest";
import { foldersOf, makeFolders } from "../system/folders.ts";
import { loadNodeKeys } from "../trust/keys.ts";
import { loadAuthority } from "./authority-files.ts";
import { copyIdentity, restoreIdentity } from "./identity.ts";

let root: string;
beforeEach(async () => {
  root = await mkdtemp(path.join(tmpdir(), "ocx-identity-"));
});
afterEach(() => rm(root, { recursive: true, force: true }));

it("a coordinator's key and authority go along with its backups, to a home that has none", async () => {
  const backups = path.join(root, "backups");
  const [first, second] = [foldersOf(path.join(root, "first")), foldersOf(path.join(root, "second"))];
  for (const folders of [first, second]) await makeFolders(folders);
  const { publicKey } = await loadNodeKeys(first.coordinatorSeed);
  const { pin } = await loadAuthority(first, publicKey, Date.now());
  await copyIdentity(first, backups);
  for (const name of ["coordinator.seed", "authority.key"])
    expect((await stat(path.join(backups, "identity", name))).mode & 0o777).toBe(0o600);
  await restoreIdentity(second, backups);
  expect((await loadNodeKeys(second.coordinatorSeed)).publicKey).toBe(publicKey);
  expect((await loadAuthority(second, publicKey, Date.now())).pin).toBe(pin);
});

it("a home that has a key keeps it, and backups without one bring none", async () => {
  const folders = foldersOf(path.join(root, "home"));
  await makeFolders(folders);
  await restoreIdentity(folders, path.join(root, "backups"));
  await writeFile(folders.coordinatorSeed, "its own");
  await writeFile(folders.authority, "of its own");
  await copyIdentity(folders, path.join(root, "backups"));
  await writeFile(folders.coordinatorSeed, "another");
  await rm(folders.authority);
  await restoreIdentity(folders, path.join(root, "backups"));
  expect(await readFile(folders.coordinatorSeed, "utf8")).toBe("another");
  await expect(readFile(folders.authority)).rejects.toThrow("ENOENT");
});
