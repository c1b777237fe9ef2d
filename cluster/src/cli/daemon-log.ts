/**
 * The daemon's log as a person reads it: JSON lines in one file for each day become short lines with a level and the
 * fields behind the message.
 */
import { open, readdir } from "node:fs/promises";
import path from "node:path";
import { setTimeout as pause } from "node:timers/promises";
import { ClusterError } from "@openclaw-cluster/contract/errors";
import { loadConfig } from "../system/config.ts";
import { DAILY_LOG } from "../system/daily-log.ts";
import { foldersOf } from "../system/folders.ts";
import type { Session } from "./session.ts";
import { paint, plainLine, type Style, type Terminal } from "./terminal.ts";
import { dayAndTime } from "./time.ts";

/** How often a growing file is looked at; a file system's own notices differ too much between systems. */
const LOOK_MS = 250;
/** What is read from the end of a file to find its last lines. */
const TAIL_BYTES_MAX = 16 * 1024 * 1024;
const PIECE_BYTES = 256 * 1024;

const LEVELS: Readonly<Record<number, readonly [name: string, style: Style | undefined]>> = {
  20: ["debug", "dim"],
  30: ["info ", undefined],
  40: ["warn ", "yellow"],
  50: ["error", "red"],
};

export async function daemonLines(session: Session, options: { follow: boolean; last: number; signal: AbortSignal }): Promise<void> {
  const { logs } = foldersOf(session.home);
  let file = await newestLog(logs);
  if (file === undefined) throw new ClusterError("not_found", `there is no log in ${logs}; has the daemon been started with this --home?`);
  const config = await loadConfig({ home: session.home, env: session.terminal.env });
  const raw = session.json || config.log.format === "json";
  const print = (line: string): void => session.terminal.out(`${raw ? line : logLine(session.terminal, line)}\n`);

  let at = await printLast(path.join(logs, file), options.last, print);
  while (options.follow && !options.signal.aborted) {
    // Looked for first: where there is a newer file, nothing is written to this one any more.
    const newest = await newestLog(logs);
    at = await printFrom(path.join(logs, file), at, print);
    if (newest !== undefined && newest !== file) [file, at] = [newest, 0];
    // An abort ends the pause with an error that says nothing new.
    await pause(LOOK_MS, undefined, { signal: options.signal }).catch(() => undefined);
  }
}

/** One line for a person. What is not JSON, as a crash's last words, stays as it is. */
export function logLine(terminal: Terminal, line: string): string {
  const entry = parseEntry(line);
  if (entry === undefined) return plainLine(line);
  const { level, time, msg, pid: _pid, hostname: _hostname, ...fields } = entry;
  const [name, style] = LEVELS[Number(level)] ?? ["     ", undefined];
  const rest = Object.entries(fields).map(([key, value]) => `${key}=${typeof value === "string" ? value : fieldText(value)}`);
  const stamp = paint(terminal, "dim", typeof time === "number" ? dayAndTime(time) : String(time));
  const tail = rest.length === 0 ? "" : ` ${paint(terminal, "dim", plainLine(rest.join(" ")))}`;
  return `${stamp} ${style === undefined ? name : paint(terminal, style, name)} ${plainLine(typeof msg === "string" ? msg : "")}${tail}`;
}

/** An error is told by its message; its stack is in the file. */
function fieldText(value: unknown): string {
  if (typeof value === "object" && value !== null && "message" in value) return String(value.message);
  return JSON.stringify(value);
}

function parseEntry(line: string): Record<string, unknown> | undefined {
  try {
    const value: unknown = JSON.parse(line);
    return typeof value === "object" && value !== null ? (value as Record<string, unknown>) : undefined;
  } catch {
    // Said above: it is shown as it is.
    return undefined;
  }
}

async function newestLog(folder: string): Promise<string | undefined> {
  const names = await readdir(folder).catch(() => [] as string[]);
  return names
    .filter((name) => DAILY_LOG.test(name))
    .sort()
    .at(-1);
}

/** Prints the last lines and gives the place where they end. */
async function printLast(file: string, last: number, print: (line: string) => void): Promise<number> {
  await using handle = await open(file);
  const { size } = await handle.stat();
  const start = Math.max(0, size - TAIL_BYTES_MAX);
  const { bytesRead, buffer } = await handle.read(Buffer.alloc(size - start), 0, size - start, start);
  const whole = buffer.subarray(0, buffer.lastIndexOf(0x0a, bytesRead - 1) + 1);
  const lines = whole.toString("utf8").split("\n").slice(0, -1);
  for (const line of lines.slice(-last)) print(line);
  return start + whole.length;
}

/** Prints the whole lines after `at` and gives the place where they end. */
async function printFrom(file: string, at: number, print: (line: string) => void): Promise<number> {
  await using handle = await open(file);
  let place = at;
  for (;;) {
    const { bytesRead, buffer } = await handle.read(Buffer.alloc(PIECE_BYTES), 0, PIECE_BYTES, place);
    const lineEnd = buffer.subarray(0, bytesRead).lastIndexOf(0x0a);
    // A line longer than a piece is shown in parts rather than waited for for ever.
    const isPart = lineEnd < 0 && bytesRead === PIECE_BYTES;
    if (lineEnd < 0 && !isPart) return place;
    const end = isPart ? bytesRead : lineEnd;
    for (const line of buffer.subarray(0, end).toString("utf8").split("\n")) print(line);
    place += isPart ? end : end + 1;
  }
}
