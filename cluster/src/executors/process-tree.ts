/**
 * Ends a program with everything it started, and finds what got away. A program is started as the leader of a session
 * of its own, with a marker in its environment that children inherit.
 *
 * K1. A process belongs to the tree if it has the tree's session, group or marker, or descends from one that does,
 *     or did at an earlier look. So double forks, setsid and reparenting do not lead out of it; only a process that clears its environment, takes
 *     a session of its own and loses its parent, all three, escapes.
 * K2. First SIGTERM (with SIGCONT, so that a stopped process hears it), then SIGKILL until a look finds nobody.
 * K3. Before either, the tree is stopped until a look finds nobody new. Else a child could slip away between a look
 *     and its parent's end, after which nothing would tell whose child it was.
 *     In a control group (attempt-group.ts) the kernel itself tells who belongs, and lets nobody be started meanwhile.
 * K4. This process, and whatever does not belong to the tree, is never signalled.
 *
 * Linux reads /proc, other POSIX systems ask `ps`, Windows has taskkill, which follows living parents only.
 */
import { execFile } from "node:child_process";
import { closeSync, openSync, readdirSync, readFileSync, readSync } from "node:fs";
import { setImmediate as nextTurn, setTimeout as pause } from "node:timers/promises";
import { promisify } from "node:util";

export interface Tree {
  /** The leader's; also the number of its group and session on POSIX. */
  readonly pid: number;
  /** `NAME=value`, as it stands in the environment. */
  readonly marker: string;
  /** The kernel's own account of who belongs to it. */
  readonly group?: TreeGroup | undefined;
  /** The leader is a sandbox: if it heard SIGTERM, what runs in it would be killed without having heard any. */
  readonly boxed?: boolean;
}

export interface TreeGroup {
  pids(): readonly number[];
  /** From now on nobody in it can start anybody. */
  seal(): void;
  kill(): void;
}

/** What a tree takes of the machine. */
export interface Weight {
  /** With threads. */
  readonly processes: number;
  /** Without the files that are mapped: those pages the kernel can give to others. */
  readonly memoryMiB: number;
}

/** Each look for survivors comes after a longer pause, up to this one. */
const LOOK_MS_MAX = 200;
/** Looks after SIGKILL; a process that is still there after about 2 s cannot be killed (another user's, or in the kernel). */
const KILL_LOOKS_MAX = 20;
/** Looks while the tree is being stopped; each finds only what was started during the one before. */
const FREEZE_LOOKS_MAX = 20;
/** /proc entries read in one turn of the event loop, about a millisecond's worth. */
const ENTRIES_PER_TURN = 40;

const run = promisify(execFile);
/** For a process that is nothing but a sweep: it can import this file and what Node brings, and needs no more. */
export const PROCESS_TREE_URL = import.meta.url;

/** Gives the tree `politeMs` to end by itself, then kills it. Resolves to the ids that could not be ended: none, as a rule. */
export async function endTree(tree: Tree, politeMs: number): Promise<readonly number[]> {
  if (process.platform === "win32") return taskkill(tree);
  const known = new Map<number, string>();
  const find = (): Promise<readonly number[]> => members(tree, known);
  if (politeMs > 0 && (await endPolitely(find, tree, politeMs))) return [];
  tree.group?.seal();
  tree.group?.kill();
  return kill(find, tree.pid);
}

/** Linux only. */
export async function weighTree(tree: Tree): Promise<Weight> {
  let [processes, kib] = [0, 0];
  for (const pid of await members(tree, new Map())) {
    const status = readFile(pid, "status");
    processes += Number(/^Threads:\s*(\d+)/m.exec(status)?.[1] ?? 0);
    for (const [, size] of status.matchAll(/^Rss(?:Anon|Shmem):\s*(\d+)/gm)) kib += Number(size);
  }
  return { processes, memoryMiB: kib / 1024 };
}

/** Kills every tree whose marker begins so: what a life of this daemon that is over left behind. */
export async function endMarked(markerPrefix: string): Promise<readonly number[]> {
  if (process.platform === "win32") return [];
  const known = new Map<number, string>();
  return kill(async () => {
    const all = await processes();
    const marked = all.filter((one) => hasMarker(one, markerPrefix, true));
    // Nobody can enter a foreign session or group: those of a marked process belong to its tree.
    const sessions = new Set(marked.map((one) => one.session).filter((session) => session !== 0));
    const groups = new Set(marked.map((one) => one.group));
    return withDescendants(all, known, (one) => marked.includes(one) || sessions.has(one.session) || groups.has(one.group));
  });
}

type Find = () => Promise<readonly number[]>;

async function endPolitely(find: Find, { pid: leader, boxed = false }: Tree, politeMs: number): Promise<boolean> {
  const until = performance.now() + politeMs;
  for (const pid of [-leader, ...(await freeze(find, leader))]) {
    // A sandbox's leader is alone in its group.
    if (!boxed || Math.abs(pid) !== leader) signal(pid, "SIGTERM");
    signal(pid, "SIGCONT");
  }
  for (let wait = 10; performance.now() < until; wait = Math.min(wait * 2, LOOK_MS_MAX)) {
    await pause(Math.min(wait, until - performance.now()));
    if ((await find()).length === 0) return true;
  }
  return false;
}

async function kill(find: Find, group?: number): Promise<readonly number[]> {
  for (let look = 0; ; look++) {
    const found = await freeze(find, group);
    if (found.length === 0 || look === KILL_LOOKS_MAX) return found;
    if (group !== undefined) signal(-group, "SIGKILL");
    for (const pid of found) signal(pid, "SIGKILL");
    await pause(Math.min(5 * 2 ** look, LOOK_MS_MAX));
  }
}

/** K3 */
async function freeze(find: Find, group?: number): Promise<readonly number[]> {
  const frozen = new Set<number>();
  for (let look = 0; look < FREEZE_LOOKS_MAX; look++) {
    // The group first: the kernel stops it in one go, which even a fork bomb does not outrun.
    if (group !== undefined) signal(-group, "SIGSTOP");
    const fresh = (await find()).filter((pid) => !frozen.has(pid));
    if (fresh.length === 0) break;
    for (const pid of fresh) {
      frozen.add(pid);
      signal(pid, "SIGSTOP");
    }
  }
  return [...frozen];
}

function signal(pid: number, name: NodeJS.Signals): void {
  try {
    process.kill(pid, name);
  } catch (error) {
    // ESRCH: gone already. EPERM: another user's; the next look reports it.
    const { code } = error as NodeJS.ErrnoException;
    if (code !== "ESRCH" && code !== "EPERM") throw error;
  }
}

interface Process {
  readonly pid: number;
  readonly parent: number;
  readonly group: number;
  /** 0 where the system does not tell. */
  readonly session: number;
  /** When it started; tells it from a later process with the same id. "" where the system does not tell. */
  readonly since: string;
  /** Known only where `ps` gave it. */
  readonly environment?: string;
}

async function members(tree: Tree, known: Map<number, string>): Promise<readonly number[]> {
  const counted = new Set(tree.group?.pids());
  const belongs = (one: Process): boolean =>
    one.group === tree.pid || one.session === tree.pid || counted.has(one.pid) || hasMarker(one, tree.marker, false);
  return withDescendants(await processes(), known, belongs);
}

/** `known` gathers what was found, with its start: it stays a member when its parent, by which it was found, is gone. */
function withDescendants(all: readonly Process[], known: Map<number, string>, belongs: (one: Process) => boolean): readonly number[] {
  const found = new Set<number>();
  for (const one of all) if (known.get(one.pid) === one.since || belongs(one)) found.add(one.pid);
  // Parents mostly have lower ids than children, but ids wrap: repeat until nothing new is found.
  for (let before = -1; found.size !== before && found.size > 0;) {
    before = found.size;
    for (const one of all) if (found.has(one.parent)) found.add(one.pid);
  }
  for (const one of all) if (found.has(one.pid)) known.set(one.pid, one.since);
  return [...found];
}

function hasMarker(one: Process, marker: string, isPrefix: boolean): boolean {
  const environment = one.environment ?? readFile(one.pid, "environ");
  const separator = one.environment === undefined ? "\0" : " ";
  const needle = `${separator}${marker}${isPrefix ? "" : separator}`;
  return `${separator}${environment}${separator}`.includes(needle);
}

/** "" where the process is gone, or another user's. */
function readFile(pid: number, name: "environ" | "status"): string {
  try {
    return readFileSync(`/proc/${pid}/${name}`, "latin1");
  } catch (error) {
    if (isGone(error)) return "";
    throw error;
  }
}

/** Everything alive but this process. */
async function processes(): Promise<readonly Process[]> {
  return (process.platform === "linux" ? await fromProc() : await fromPs()).filter((one) => one.pid !== process.pid);
}

async function fromProc(): Promise<Process[]> {
  const found: Process[] = [];
  let read = 0;
  for (const name of readdirSync("/proc")) {
    if (!/^[0-9]+$/.test(name)) continue;
    if (++read % ENTRIES_PER_TURN === 0) await nextTurn();
    const one = readStat(Number(name));
    if (one !== undefined) found.push(one);
  }
  return found;
}

/** Of the fields after the name; proc(5) counts it as the 22nd of all. */
const STAT_START = 19;
const statBuffer = Buffer.alloc(1_024);

/** undefined for one that is gone, or a zombie, which runs nothing and only its parent can clear. */
function readStat(pid: number): Process | undefined {
  let text: string;
  try {
    const file = openSync(`/proc/${pid}/stat`, "r");
    try {
      text = statBuffer.toString("latin1", 0, readSync(file, statBuffer));
    } finally {
      closeSync(file);
    }
  } catch (error) {
    if (isGone(error)) return undefined;
    throw error;
  }
  // `pid (name) state ppid pgrp session …`; the name may hold blanks and brackets.
  const fields = text.slice(text.lastIndexOf(")") + 2).split(" ");
  const [state, parent, group, session] = fields;
  if (state === "Z" || state === "X") return undefined;
  return { pid, parent: Number(parent), group: Number(group), session: Number(session), since: fields[STAT_START] ?? "" };
}

function isGone(error: unknown): boolean {
  const { code } = error as NodeJS.ErrnoException;
  return code === "ENOENT" || code === "ESRCH" || code === "EACCES" || code === "EPERM";
}

async function fromPs(): Promise<Process[]> {
  const { stdout } = await run("ps", ["-axww", "-E", "-o", "pid=,ppid=,pgid=,stat=,command="], { maxBuffer: 64 * 1024 * 1024 });
  return stdout.split("\n").flatMap((line) => {
    const [, pid, parent, group, state, command] = /^\s*(\d+)\s+(\d+)\s+(\d+)\s+(\S+)\s+(.*)$/.exec(line) ?? [];
    if (pid === undefined || state?.startsWith("Z")) return [];
    return [{ pid: Number(pid), parent: Number(parent), group: Number(group), session: 0, since: "", environment: command ?? "" }];
  });
}

async function taskkill(tree: Tree): Promise<readonly number[]> {
  try {
    await run("taskkill", ["/PID", String(tree.pid), "/T", "/F"], { windowsHide: true });
    return [];
  } catch (error) {
    // 128: there is no such process any more.
    if ((error as { code?: unknown }).code === 128) return [];
    return [tree.pid];
  }
}
