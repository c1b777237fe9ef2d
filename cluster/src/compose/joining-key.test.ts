import { mkdir, mkdtemp, readdir, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import path from "node:path";
import { afterEach, beforeEach, expect, test } from "vitest";
import { makeAuthority } from "../../../tests/support/authority.ts";
import { foldersOf, type Folders } from "../system/folders.ts";
import { joiningKeys, openJoiningKey } from "./joining-key.ts";
import { loadNodeKeys } from "../trust/keys.ts";

const [ONE, TWO] = [makeAuthority(Date.now()), makeAuthority(Date.now())];

let home: string;
let places: Folders;
beforeEach(async () => {
  home = await mkdtemp(path.join(tmpdir(), "ocx-joining-"));
  places = foldersOf(home);
  await mkdir(places.data);
});
afterEach(() => rm(home, { recursive: true }));

const seeds = async (): Promise<string[]> => (await readdir(home)).filter((name) => name.startsWith("node.seed"));
const own = async (): Promise<string> => (await loadNodeKeys(places.nodeSeed)).publicKey;

test("each try at one coordinator finds the same key, which is the machine's once the join is proven", async () => {
  const first = await openJoiningKey(places, ONE.pin);
  const again = await openJoiningKey(places, ONE.pin);
  expect(again.keys.publicKey).toBe(first.keys.publicKey);
  await again.settle(ONE.certificate);
  expect(await own()).toBe(first.keys.publicKey);
  expect(await seeds()).toEqual(["node.seed"]);
  const member = await openJoiningKey(places, ONE.pin);
  expect([member.isMember, member.keys.publicKey]).toEqual([true, first.keys.publicKey]);
});

test("another coordinator is never shown a key that one may know, whether its join was proven or not (C1)", async () => {
  const asked = await openJoiningKey(places, ONE.pin);
  const other = await openJoiningKey(places, TWO.pin);
  expect(other.keys.publicKey).not.toBe(asked.keys.publicKey);
  await asked.settle(ONE.certificate);
  await writeFile(places.nodeSeedNext, "one that the first coordinator may know");
  const switching = await openJoiningKey(places, TWO.pin);
  expect(switching.keys.publicKey).toBe(other.keys.publicKey);
  expect(await own()).toBe(asked.keys.publicKey);
  await switching.settle(TWO.certificate);
  expect(await own()).toBe(other.keys.publicKey);
  expect(await seeds()).toEqual(["node.seed"]);
});

test("a key of which nobody knows whose it is, is shown to nobody new", async () => {
  const before = await own();
  expect((await openJoiningKey(places, ONE.pin)).keys.publicKey).not.toBe(before);
  expect(await joiningKeys(home)).toHaveLength(1);
});
