/** What is kept of where control nodes are, and what of it is read. */
import { mkdir, mkdtemp, readFile, rm, stat, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import path from "node:path";
import { LIMITS } from "@openclaw-cluster/contract/limits";
import fc from "fast-check";
import { afterEach, beforeEach, expect, test } from "vitest";
import { configuredUrls, keepUrls, knownUrls, readKeptUrls } from "./coordinator-urls.ts";
import { foldersOf, membershipOf, type Folders } from "./folders.ts";

const KEY = "UTHIS";
const STUDIO = "http://studio:8888";

let folders: Folders;
beforeEach(async () => {
  folders = foldersOf(await mkdtemp(path.join(tmpdir(), "ocx-urls-")));
  await mkdir(folders.data);
});
afterEach(() => rm(folders.home, { recursive: true }));

const keep = (urls: readonly string[], at = STUDIO): Promise<void> => keepUrls(folders, { coordinatorKey: KEY, urls, at });

test("what was told is read again, behind the settings, and for nobody else's key (U1)", async () => {
  await keep(["http://nas:8888/", "https://100.64.0.7:8443", STUDIO]);
  expect(await readKeptUrls(folders, KEY)).toEqual(["http://nas:8888", "https://100.64.0.7:8443", STUDIO]);
  expect(await knownUrls({ url: STUDIO }, folders, KEY)).toEqual([STUDIO, "http://nas:8888", "https://100.64.0.7:8443"]);
  expect(await knownUrls({ url: [STUDIO, "http://a:1"] }, folders, "UOTHER")).toEqual([STUDIO, "http://a:1"]);
  expect(await readKeptUrls(folders, undefined)).toEqual([]);
  expect(configuredUrls({})).toEqual([]);
  expect(membershipOf(folders)).toContain(folders.coordinators);
});

test("an address of the loopback is kept only where it was told there (U2)", async () => {
  await keep(["http://127.0.0.1:8888", "http://nas:8888"]);
  expect(await readKeptUrls(folders, KEY)).toEqual(["http://nas:8888"]);
  await keep(["http://127.0.0.1:8888", "http://localhost:1"], "http://127.0.0.1:8888");
  expect(await readKeptUrls(folders, KEY)).toEqual(["http://127.0.0.1:8888", "http://localhost:1"]);
});

test("nothing told takes nothing away, and the same is not written again", async () => {
  await keep(["http://nas:8888"]);
  const { mtimeMs, ino } = await stat(folders.coordinators);
  await keep([]);
  await keep(["http://nas:8888"]);
  expect(await stat(folders.coordinators)).toMatchObject({ mtimeMs, ino });
});

test.skipIf(process.platform === "win32")("the file is this user's alone", async () => {
  await keep(["http://nas:8888"]);
  expect((await stat(folders.coordinators)).mode & 0o077).toBe(0);
});

test("whatever is told or lies there, what is read is a bounded list of servers' addresses (U3)", async () => {
  const address = fc.oneof(
    fc.webUrl({ validSchemes: ["http", "https", "ftp", "file"], withFragments: true }),
    fc.string(),
    fc.constantFrom("http://user:secret@a:1", "http://[::1]:8888", "http://a,b"),
  );
  await fc.assert(
    fc.asyncProperty(fc.array(address, { maxLength: 40 }), async (urls) => {
      await rm(folders.coordinators, { force: true });
      await keep(urls);
      const read = await readKeptUrls(folders, KEY);
      expect(read.length).toBeLessThanOrEqual(LIMITS.coordinatorUrlsMax);
      for (const url of read) expect(url).toMatch(/^https?:\/\/[^/@?#]+$/);
    }),
    { numRuns: 50 },
  );
  await fc.assert(
    fc.asyncProperty(fc.oneof(fc.string(), fc.json()), async (text) => {
      await writeFile(folders.coordinators, text);
      expect(await readKeptUrls(folders, KEY)).toEqual([]);
    }),
    { numRuns: 50 },
  );
  await keep(["http://nas:8888"]);
  await writeFile(folders.coordinators, `${await readFile(folders.coordinators, "utf8")}${" ".repeat(64 * 1024)}`);
  expect(await readKeptUrls(folders, KEY)).toEqual([]);
});
