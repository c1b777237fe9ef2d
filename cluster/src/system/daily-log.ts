/** The daemon's log on disk: a file for each day (UTC), the oldest removed. */
import { readdir, rm } from "node:fs/promises";
import path from "node:path";
import type { Clock, Timer } from "./clock.ts";
import { logFile, type Folders } from "./folders.ts";
import { openLog, type Log, type LogLevel } from "./log.ts";

const FILES_KEPT = 14;
const LOOK_MS = 60_000;

/** What a day's file is called; what does not look like one is not ours to remove. */
export const DAILY_LOG = /^openclaw-cluster-\d{4}-\d{2}-\d{2}\.log$/;

export function openDailyLog(folders: Folders, level: LogLevel, clock: Clock): { log: Log; close(): void } {
  const today = (): string => logFile(folders, new Date(clock.wall()));
  let file = today();
  let timer: Timer;
  const { log, reopen } = openLog({ level, file });
  const look = (): void => {
    timer = clock.after(LOOK_MS, look);
    if (file === today()) return;
    file = today();
    reopen(file);
    tidy();
  };
  const tidy = (): void =>
    void removeOldest(folders.logs, file).catch((error: unknown) => log.warn({ err: error }, "old logs were not removed"));
  timer = clock.after(LOOK_MS, look);
  tidy();
  return { log, close: () => timer.cancel() };
}

/** `today` counts, whether it is made already or not. */
async function removeOldest(folder: string, today: string): Promise<void> {
  const files = new Set([...(await readdir(folder)).filter((name) => DAILY_LOG.test(name)), path.basename(today)]);
  for (const name of [...files].sort().slice(0, -FILES_KEPT)) await rm(path.join(folder, name), { force: true });
}
