import { chmod, mkdtemp, readdir, readFile, rm, stat, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fromPublic, fromSeed } from "@nats-io/nkeys";
import { afterEach, beforeEach, expect, test } from "vitest";
import { createNodeKeys, loadNodeKeys } from "./keys.ts";

let folder: string;
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), "keys-"));
});
afterEach(() => rm(folder, { recursive: true, force: true }));

test("a pair signs, and its public key proves it", () => {
  const { publicKey, seed } = createNodeKeys();
  expect(publicKey).toMatch(/^U[A-Z2-7]{55}$/);
  const words = new TextEncoder().encode("hello");
  expect(fromPublic(publicKey).verify(words, fromSeed(seed).sign(words))).toBe(true);
  expect(createNodeKeys().publicKey).not.toBe(publicKey);
});

test("the second call gives the key of the first, from a file for the owner only", async () => {
  const file = join(folder, "deep", "node.seed");
  const first = await loadNodeKeys(file);
  expect(await loadNodeKeys(file)).toEqual(first);
  expect((await stat(file)).mode & 0o777).toBe(0o600);
  expect(await readFile(file, "utf8")).toMatch(/^SU[A-Z2-7]{56}$/);
});

test("many at once agree on one key and leave no drafts", async () => {
  const file = join(folder, "node.seed");
  const all = await Promise.all(Array.from({ length: 8 }, () => loadNodeKeys(file)));
  expect(new Set(all.map(({ publicKey }) => publicKey)).size).toBe(1);
  expect(await readdir(folder)).toEqual(["node.seed"]);
});

test("a file that others can read, and one with other content, are refused without naming the content", async () => {
  const file = join(folder, "node.seed");
  await loadNodeKeys(file);
  await chmod(file, 0o644);
  await expect(loadNodeKeys(file)).rejects.toMatchObject({ code: "config_invalid", detail: expect.stringContaining("chmod 600") });
  const other = join(folder, "other.seed");
  await writeFile(other, "SUSECRETSECRET", { mode: 0o600 });
  const error = await loadNodeKeys(other).catch((caught: Error) => caught);
  expect(error).toMatchObject({ code: "config_invalid", message: expect.not.stringContaining("SECRETSECRET") });
  expect(error).not.toHaveProperty("cause");
});
