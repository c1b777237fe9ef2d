import { mkdtemp, readFile, readdir, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import path from "node:path";
import { afterEach, beforeEach, expect, test } from "vitest";
import { HandClock } from "../../../tests/support/hand-clock.ts";
import { openDailyLog } from "./daily-log.ts";
import { foldersOf, logFile, makeFolders, type Folders } from "./folders.ts";

const DAY_MS = 86_400_000;
let folders: Folders;

beforeEach(async () => {
  folders = foldersOf(await mkdtemp(path.join(tmpdir(), "daily-log-")));
  await makeFolders(folders);
});
afterEach(() => rm(folders.home, { recursive: true }));

const named = (atMs: number): string => path.basename(logFile(folders, new Date(atMs)));

test("each day has a file of its own, and only the newest fourteen stay", async () => {
  const clock = new HandClock();
  const start = clock.wall();
  for (let day = 0; day < 20; day++) await writeFile(path.join(folders.logs, named(start - day * DAY_MS)), "old\n");
  await writeFile(path.join(folders.logs, "notes.txt"), "mine");
  const { log, close } = openDailyLog(folders, "info", clock);
  const told = (day: number): Promise<string> => readFile(path.join(folders.logs, named(start + day * DAY_MS)), "utf8").catch(() => "");
  log.info("the first day");
  await expect.poll(() => told(0)).toContain("the first day");
  clock.advance(DAY_MS);
  log.info("the second day");
  await expect.poll(() => told(1)).toContain("the second day");
  clock.advance(DAY_MS);
  log.info("the third day");
  await expect.poll(() => told(2)).toContain("the third day");
  close();
  await expect.poll(async () => (await readdir(folders.logs)).length).toBe(15);
  const files = (await readdir(folders.logs)).sort();
  expect([files[0], files.at(-2), files.at(-1)]).toEqual(["notes.txt", named(start + DAY_MS), named(start + 2 * DAY_MS)]);
  expect(await told(0)).toMatch(/^old\n.*the first day/);
  expect(await told(1)).toMatch(/^[^\n]*the second day[^\n]*\n$/);
});
