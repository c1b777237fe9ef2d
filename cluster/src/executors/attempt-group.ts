/**
 * One attempt's control group: the kernel counts what all its processes take together, and knows them all, whatever they
 * did to their parents, sessions and environments.
 *
 * A1. A process enters before its program is there (launch.ts), so nothing of the program ever runs outside.
 * A2. A limit that was reached is read off the kernel's own counters, not guessed from how the program ended.
 * A3. A sealed group starts nobody any more: so killing all that are in it comes to an end, a fork bomb's too.
 *
 * This file needs Node alone: command-guard.ts loads it into a process that is nothing but a sweep.
 */
import { existsSync, mkdirSync, readdirSync, readFileSync, rmdirSync, writeFileSync } from "node:fs";
import path from "node:path";
import { setTimeout as pause } from "node:timers/promises";
import type { Place } from "./cgroup-home.ts";
import type { TreeGroup } from "./process-tree.ts";

export interface AttemptGroup extends TreeGroup {
  /** Files into which a process writes 0 to enter. */
  readonly doors: readonly string[];
  /** What it came up against, if it did. */
  breach(): "memoryMiB" | "processes" | undefined;
  /** Resolves when it is gone, or stays because somebody in it cannot be ended. */
  remove(): Promise<boolean>;
}

export interface GroupLimits {
  readonly memoryMiB: number;
  readonly processes: number;
}

const MIB = 1024 * 1024;
/** A process leaves its group while it ends, a moment after it was waited for. */
const REMOVE_LOOKS_MAX = 50;
const REMOVE_LOOK_MS = 20;
const KILL_LOOKS_MAX = 20;
const KILL_LOOK_MS = 50;
/** The kernel takes memory in batches, the last of which no longer fits. */
const FULL_WITHIN_BYTES = MIB;
/** For a process that is nothing but a sweep. */
export const ATTEMPT_GROUP_URL = import.meta.url;

/** Throws where the kernel does not make it. */
export function makeAttemptGroup(places: readonly Place[], name: string, limits: GroupLimits): AttemptGroup {
  const rooms = places.map((place) => ({ ...place, folder: path.join(place.folder, name) }));
  for (const { folder } of rooms) mkdirSync(folder, { recursive: true });
  const group = groupOf(rooms);
  const memory = rooms.find(({ controls }) => controls.includes("memory"));
  if (memory !== undefined) limitMemory(memory, limits.memoryMiB * MIB);
  const pids = rooms.find(({ controls }) => controls.includes("pids"));
  if (pids !== undefined) writeFileSync(path.join(pids.folder, "pids.max"), String(limits.processes));
  return group;
}

/** Ends everything in the groups whose names begin so, and removes them. Returns the ids that could not be ended. */
export async function endGroups(places: readonly Place[], prefix: string): Promise<readonly number[]> {
  const names = new Set(places.flatMap(({ folder }) => groupsIn(folder)).filter((name) => name.startsWith(prefix)));
  const left: number[] = [];
  for (const name of names) {
    const group = groupOf(places.map((place) => ({ ...place, folder: path.join(place.folder, name) })));
    for (let look = 0; look < KILL_LOOKS_MAX && group.pids().length > 0; look++) {
      group.seal();
      group.kill();
      await pause(KILL_LOOK_MS);
    }
    if (!(await group.remove())) left.push(...group.pids());
  }
  return left;
}

/** What is still in use stays. */
export function removePlaces(places: readonly Place[]): void {
  for (const { folder } of places) attempt(() => rmdirSync(folder));
}

function groupOf(rooms: readonly Place[]): AttemptGroup {
  const pids = (): number[] => [...new Set(rooms.flatMap(membersOf))];
  return {
    doors: rooms.map(({ folder }) => path.join(folder, "cgroup.procs")),
    pids,
    breach: () => breachOf(rooms),
    seal() {
      for (const { folder, controls } of rooms)
        if (controls.includes("pids")) attempt(() => writeFileSync(path.join(folder, "pids.max"), "0"));
    },
    kill() {
      // In version 2 the kernel kills them all in one go.
      const swift = rooms.map(({ folder }) => path.join(folder, "cgroup.kill")).filter((file) => existsSync(file));
      for (const file of swift) attempt(() => writeFileSync(file, "1"));
      if (swift.length === 0) for (const pid of pids()) attempt(() => process.kill(pid, "SIGKILL"));
    },
    async remove() {
      let left: readonly string[] = rooms.map(({ folder }) => folder);
      for (let look = 0; ; look++) {
        left = left.filter((folder) => !attempt(() => rmdirSync(folder)) && existsSync(folder));
        if (left.length === 0 || look === REMOVE_LOOKS_MAX) return left.length === 0;
        await pause(REMOVE_LOOK_MS);
      }
    },
  };
}

/** One that this process cannot see, in a namespace beside its own, is a 0 there, which as a process id would mean all of us. */
function membersOf({ folder }: Place): number[] {
  return read(folder, "cgroup.procs")
    .split("\n")
    .map(Number)
    .filter((pid) => pid > 0);
}

function limitMemory({ folder, version }: Place, bytes: number): void {
  if (version === 2) {
    writeFileSync(path.join(folder, "memory.max"), String(bytes));
    // What was swapped out is taken too. The kernel may be built without swap.
    optional(folder, "memory.swap.max", "0");
    // One end for all: a program whose worker was killed would often wait for it for ever.
    optional(folder, "memory.oom.group", "1");
  } else {
    writeFileSync(path.join(folder, "memory.limit_in_bytes"), String(bytes));
    optional(folder, "memory.memsw.limit_in_bytes", String(bytes));
  }
}

/** Memory first: a program that was killed for it may have failed to start others in its last moments. */
function breachOf(rooms: readonly Place[]): "memoryMiB" | "processes" | undefined {
  for (const { folder, version, controls } of rooms) {
    if (!controls.includes("memory")) continue;
    // A kill alone could be one for want of memory on the whole machine, in which no limit had a part.
    const killed = counter(folder, version === 2 ? "memory.events" : "memory.oom_control", "oom_kill") > 0;
    if (killed && (version === 2 ? counter(folder, "memory.events", "oom") > 0 : wasFull(folder))) return "memoryMiB";
  }
  const refused = rooms.some(({ folder, controls }) => controls.includes("pids") && counter(folder, "pids.events", "max") > 0);
  return refused ? "processes" : undefined;
}

/** Version 1 counts no failures where it ends somebody at once; but how much there was at the most, it keeps. */
function wasFull(folder: string): boolean {
  const most = Number(read(folder, "memory.max_usage_in_bytes"));
  return most >= Number(read(folder, "memory.limit_in_bytes")) - FULL_WITHIN_BYTES;
}

/** A line `name number`. */
function counter(folder: string, file: string, name: string): number {
  return Number(new RegExp(`^${name} (\\d+)$`, "m").exec(read(folder, file))?.[1] ?? 0);
}

/** "" where the kernel has no such file, or the group is gone. */
function read(folder: string, file: string): string {
  try {
    return readFileSync(path.join(folder, file), "utf8");
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    if (code === "ENOENT" || code === "ENODEV") return "";
    throw error;
  }
}

function groupsIn(folder: string): string[] {
  if (!existsSync(folder)) return [];
  return readdirSync(folder, { withFileTypes: true }).flatMap((entry) => (entry.isDirectory() ? [entry.name] : []));
}

function optional(folder: string, file: string, value: string): void {
  if (existsSync(path.join(folder, file))) writeFileSync(path.join(folder, file), value);
}

/** What is gone, or still busy, is looked at again by whoever calls. */
function attempt(act: () => void): boolean {
  try {
    act();
    return true;
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    if (code === "ESRCH" || code === "ENOENT" || code === "ENODEV" || code === "EBUSY" || code === "ENOTEMPTY" || code === "EPERM")
      return false;
    throw error;
  }
}
