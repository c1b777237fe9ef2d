/** What a machine is told when it becomes a control node, and what it forgets: H1 and H2 of handover.ts. */
import { existsSync } from "node:fs";
import { mkdir, mkdtemp, readdir, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import path from "node:path";
import { afterEach, beforeEach, expect, test } from "vitest";
import { makeAuthority } from "../../../tests/support/authority.ts";
import { loadConfig, saveConfig } from "../system/config.ts";
import { foldersOf, makeFolders, writePrivateFile, type Folders } from "../system/folders.ts";
import { silentLog } from "../system/log.ts";
import { createNodeKeys } from "../trust/keys.ts";
import type { Ground } from "./ground.ts";
import { finishForgetting, forgetControl, takeHandover, tellHandover } from "./handover.ts";
import { IDENTITY_COPIES } from "./identity.ts";
import { membersFile } from "./own-etcd.ts";

const TELLING = { witness: false, token: "occ_of-this-machine", members: ["https://10.0.0.1:2379"] };
const URLS = ["https://10.0.0.1:8888", "https://10.0.0.2:8888"];

let folder: string;
const opened: string[] = [];
beforeEach(async () => {
  folder = await mkdtemp(path.join(tmpdir(), "ocx-handover-"));
});
afterEach(async () => {
  opened.length = 0;
  await rm(folder, { recursive: true });
});

async function ground(name: string, settings: object): Promise<Ground> {
  const home = path.join(folder, name);
  const folders = foldersOf(home);
  await makeFolders(folders);
  if (!existsSync(folders.config)) await writeFile(folders.config, JSON.stringify({ nodeId: name, ...settings }), { mode: 0o600 });
  return { config: await loadConfig({ home, env: {} }), folders, log: silentLog } as Ground;
}

/** A machine that leads, with the files that it would have. */
async function leader(name = "one"): Promise<Ground> {
  const one = await ground(name, { clusterName: "home", store: { kind: "etcd" } });
  const keys = createNodeKeys();
  await writePrivateFile(one.folders.coordinatorSeed, Buffer.from(keys.seed).toString());
  const authority = makeAuthority();
  await writePrivateFile(one.folders.authorityKey, `key of ${name}`);
  await writePrivateFile(one.folders.authority, authority.certificate);
  return one;
}
const worker = (more: object = {}): Promise<Ground> =>
  ground("two", { roles: ["worker"], coordinator: { url: "http://127.0.0.1:8888" }, ...more });
const read = (file: string): Promise<string> => readFile(file, "utf8");
const again = (home: string): ReturnType<typeof loadConfig> => loadConfig({ home, env: {} });

test("a worker that is told becomes what the others are, with a token of its own, and stays what it is otherwise", async () => {
  const [one, two] = [await leader(), await worker({ slots: 7 })];
  await takeHandover(two, await tellHandover(one, TELLING));
  for (const file of ["coordinatorSeed", "authorityKey", "authority"] as const)
    expect(await read(two.folders[file])).toBe(await read(one.folders[file]));
  expect(await read(two.folders.adminToken)).toBe(`${TELLING.token}\n`);
  expect(JSON.parse(await read(membersFile(two.folders.data)))).toEqual(TELLING.members);
  expect(await again(two.folders.home)).toMatchObject({
    ...{ nodeId: "two", clusterName: "home", roles: ["coordinator", "worker"], slots: 7 },
    store: { kind: "etcd", endpoints: [] },
  });
});

test("a witness has that role and no other", async () => {
  const [one, two] = [await leader(), await worker()];
  await takeHandover(two, await tellHandover(one, { ...TELLING, witness: true }));
  expect((await again(two.folders.home)).roles).toEqual(["witness"]);
});

test("an etcd that somebody runs already is told with its files, which lie on the new one's own disk", async () => {
  const one = await leader();
  const caFile = path.join(folder, "ca.pem");
  await writeFile(caFile, "their authority");
  await saveConfig(one.folders.home, { store: { endpoints: ["https://10.0.0.9:2379"], caFile } });
  const two = await worker();
  await takeHandover(two, await tellHandover(await ground("one", {}), { ...TELLING, members: [] }));
  const { store } = await again(two.folders.home);
  expect(store.endpoints).toEqual(["https://10.0.0.9:2379"]);
  expect(store.caFile).not.toBe(caFile);
  expect(await read(store.caFile as string)).toBe("their authority");
  await forgetControl(two, URLS);
  expect(existsSync(store.caFile as string)).toBe(false);
});

test("H1: killed before its settings are written, a machine is what it was; told again, it becomes one", async () => {
  const [one, two] = [await leader(), await worker()];
  const text = await tellHandover(one, TELLING);
  // Where its settings cannot be written, all that comes before them has happened: as a kill at the latest moment.
  const settings = await read(two.folders.config);
  await rm(two.folders.config);
  await mkdir(two.folders.config);
  await expect(takeHandover(two, text)).rejects.toThrow();
  expect(existsSync(two.folders.coordinatorSeed)).toBe(true);
  await rm(two.folders.config, { recursive: true });
  await writeFile(two.folders.config, settings);
  expect((await again(two.folders.home)).roles).toEqual(["worker"]);
  await takeHandover(two, text);
  expect((await again(two.folders.home)).roles).toEqual(["coordinator", "worker"]);
  // Its own keys of the first try are the same ones: nothing is put aside.
  expect((await readdir(path.dirname(two.folders.coordinatorSeed))).filter((name) => name.endsWith(".old"))).toEqual([]);
});

test("H2: keys of a cluster that it once led are put aside, not overwritten", async () => {
  const [one, two] = [await leader(), await leader("two")];
  const before = await Promise.all(keysOf(two.folders).map(read));
  await takeHandover(two, await tellHandover(one, TELLING));
  expect(await Promise.all(keysOf(two.folders).map(read))).toEqual(await Promise.all(keysOf(one.folders).map(read)));
  const old = (await readdir(two.folders.home, { recursive: true })).filter((name) => name.endsWith(".old"));
  expect(old).toHaveLength(before.length);
  const kept = await Promise.all(old.map((name) => read(path.join(two.folders.home, name))));
  expect(kept.toSorted()).toEqual(before.toSorted());
});

test("what it does not understand changes nothing", async () => {
  const two = await worker();
  const settings = await read(two.folders.config);
  await expect(takeHandover(two, JSON.stringify({ clusterName: "home" }))).rejects.toMatchObject({ code: "bad_request" });
  expect(await read(two.folders.config)).toBe(settings);
  expect(keysOf(two.folders).filter(existsSync)).toEqual([]);
});

test("a machine without the authority's key tells nobody", async () => {
  const one = await leader();
  await rm(one.folders.authorityKey);
  await expect(tellHandover(one, TELLING)).rejects.toMatchObject({ code: "config_invalid" });
});

test("demoted, it keeps whom to obey and nothing that opens the cluster", async () => {
  const [one, two] = [await leader(), await worker()];
  await takeHandover(two, await tellHandover(one, TELLING));
  const { folders } = two;
  const copies = path.join(folders.backups, IDENTITY_COPIES);
  const servers = ["etcd", "nats"].map((name) => path.join(folders.data, name));
  for (const server of servers) await mkdir(path.join(server, "data"), { recursive: true });
  await mkdir(copies, { recursive: true });
  const certificate = await read(folders.authority);
  await forgetControl({ ...two, config: await again(folders.home) }, URLS);
  const gone = [...keysOf(folders), folders.adminToken, membersFile(folders.data), copies];
  expect(gone.filter(existsSync)).toEqual([]);
  const config = await again(folders.home);
  expect(config).toMatchObject({ roles: ["worker"], coordinator: { url: URLS }, store: { kind: "sqlite" } });
  expect(await read(folders.coordinatorAuthority)).toBe(certificate);
  expect(await read(folders.coordinatorKey)).toMatch(/^U[A-Z2-7]{55}\n$/);
  // Its servers write until they are stopped.
  expect(servers.filter(existsSync)).toEqual(servers);
  await finishForgetting({ folders, config });
  expect(servers.filter(existsSync)).toEqual([]);
});

test("H3: killed after its settings were written, its next start forgets the rest; killed before, it is a control node still", async () => {
  const [one, two] = [await leader(), await worker()];
  await takeHandover(two, await tellHandover(one, TELLING));
  const { folders } = two;
  const promoted = await read(folders.config);
  await forgetControl({ ...two, config: await again(folders.home) }, URLS);
  // As if killed at once after the settings: the keys are there.
  await takeKeys(one.folders, folders);
  const demoted = await again(folders.home);
  await finishForgetting({ folders, config: demoted });
  expect(keysOf(folders).filter(existsSync)).toEqual([]);
  // A later start of a worker deletes nothing, whatever lies there: it may once have led.
  await takeKeys(one.folders, folders);
  await finishForgetting({ folders, config: demoted });
  expect(keysOf(folders).filter(existsSync)).toEqual(keysOf(folders));
  await writeFile(folders.config, promoted);
  const config = await again(folders.home);
  await writePrivateFile(path.join(folders.data, "demoted"), "");
  await finishForgetting({ folders, config });
  await finishForgetting({ folders, config: demoted });
  expect(keysOf(folders).filter(existsSync)).toEqual(keysOf(folders));
});

async function takeKeys(from: Folders, to: Folders): Promise<void> {
  for (const [at, file] of keysOf(from).entries()) await writePrivateFile(keysOf(to)[at] as string, await read(file));
}

const keysOf = ({ coordinatorSeed, authorityKey, authority }: Folders): string[] => [coordinatorSeed, authorityKey, authority];
