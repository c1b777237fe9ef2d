/**
 * Control groups of version 2 on a real kernel, in a process that stands in a group given to it as a service manager does.
 * Where memory and processes belong to version 1, another controller stands for them: then what is tried is how groups
 * are made, entered, emptied and removed, and not those two limits.
 */
import { spawn } from "node:child_process";
import { existsSync, mkdirSync, readFileSync, rmdirSync, writeFileSync } from "node:fs";
import path from "node:path";
import { afterEach, beforeEach, describe, expect, test, vi } from "vitest";
import { until } from "../../../tests/support/daemon.ts";
import { processesOf } from "../../../tests/support/leaked-processes.ts";

vi.setConfig({ testTimeout: 60_000 });

const MOUNT = ["/sys/fs/cgroup", "/sys/fs/cgroup/unified"].find((at) => existsSync(path.join(at, "cgroup.controllers")));
const unable = process.getuid?.() !== 0 ? "needs root" : MOUNT === undefined ? "needs cgroup v2" : undefined;
const NAME = `ocx-given-${process.pid}`;
const given = path.join(MOUNT ?? "/nowhere", NAME);

const orderRoot = (order: string): void => writeFileSync(path.join(MOUNT ?? "", "cgroup.subtree_control"), order);
const wordsIn = (folder: string, file: string): string[] =>
  unable === undefined
    ? readFileSync(path.join(folder, file), "utf8")
        .split(/\s+/)
        .filter((word) => word !== "")
    : [];
const here = wordsIn(MOUNT ?? "", "cgroup.controllers");
const CONTROLLERS = here.includes("memory") && here.includes("pids") ? ["memory", "pids"] : here.slice(0, 1);
/** Handed on for the time of a test, where it is not in any case. */
const lent = CONTROLLERS.find((controller) => !wordsIn(MOUNT ?? "", "cgroup.subtree_control").includes(controller));

/** Opens a home in the group that it is put into, starts a crowd in an attempt's group, and ends it; tells each step. */
const CHILD = `
const [home, group, controllers] = process.argv.slice(1);
const { findGroupHome } = await import(home);
const { makeAttemptGroup, endGroups, removePlaces } = await import(group);
const { spawn } = await import("node:child_process");
process.stdin.once("data", async () => {
  const found = findGroupHome("attempts", controllers.split(","));
  if (found.kind === "none") return void process.stdout.write(JSON.stringify(found) + "\\n", () => process.exit(0));
  const places = found.places.map((place) => ({ ...place, controls: [] }));
  const one = makeAttemptGroup(places, "life-t1.1", { memoryMiB: 64, processes: 10 });
  const script = 'echo 0 > "$1" && (env -i setsid sh -c "trap \\\\"\\\\" TERM; sleep 601 & sleep 601" &) ; echo in; sleep 601';
  const crowd = spawn("/bin/sh", ["-c", script, "sh", one.doors[0]], { detached: true, stdio: ["ignore", "pipe", "inherit"], env: { CROWD: ${JSON.stringify(NAME)}, PATH: process.env.PATH } });
  await new Promise((resolve) => crowd.stdout.once("data", resolve));
  while (one.pids().length < 4) await new Promise((resolve) => setTimeout(resolve, 10));
  const inside = one.pids().length;
  const left = await endGroups(places, "life-");
  removePlaces(places);
  process.stdout.write(JSON.stringify({ kind: "found", places, own: (await import("node:fs")).readFileSync("/proc/self/cgroup", "utf8"), inside, left }) + "\\n", () => process.exit(0));
});
`;

describe.skipIf(unable !== undefined)(`a group that was given to the daemon${unable === undefined ? "" : ` (skipped: ${unable})`}`, () => {
  beforeEach(() => {
    // As a service manager has it: the root hands on what it has.
    if (lent !== undefined) orderRoot(`+${lent}`);
    mkdirSync(given);
  });
  afterEach(async () => {
    expect(processesOf(`CROWD=${NAME}`)).toEqual([]);
    for (const inner of ["attempts", "daemon", "."]) {
      const folder = path.join(given, inner);
      if (existsSync(folder)) await until(`${folder} is removed`, () => removed(folder));
    }
    if (lent !== undefined) orderRoot(`-${lent}`);
  });

  test("the daemon moves aside, hands its controllers on, and whoever is in an attempt's group is ended, whatever it did", async () => {
    const said = await inGroup([]);
    expect(said).toMatchObject({ kind: "found", places: [{ folder: path.join(given, "attempts"), version: 2 }], left: [] });
    expect(said["inside"]).toBeGreaterThanOrEqual(4);
    expect(said["own"]).toContain(`/${NAME}/daemon`);
    expect(wordsIn(given, "cgroup.subtree_control")).toEqual(CONTROLLERS);
  });

  test("one that it shares with others is not its own: nothing is moved and nothing made", async () => {
    const other = spawn("sleep", ["600"]);
    try {
      const said = await inGroup([other.pid as number]);
      expect(said).toEqual({ kind: "none", reason: expect.stringContaining("holds others too") });
      expect(existsSync(path.join(given, "daemon"))).toBe(false);
      expect(readFileSync(path.join(given, "cgroup.procs"), "utf8")).toContain(String(other.pid));
    } finally {
      other.kill("SIGKILL");
    }
  });

  test("a controller that is not there to be handed on is named", async () => {
    const said = await inGroup([], [...CONTROLLERS, "nonsense"]);
    expect(said).toMatchObject({ kind: "none", reason: expect.stringMatching(/no.*nonsense/) });
  });
});

function removed(folder: string): true | undefined {
  try {
    rmdirSync(folder);
    return true;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "EBUSY") return undefined;
    throw error;
  }
}

async function inGroup(others: readonly number[], controllers: readonly string[] = CONTROLLERS): Promise<Record<string, unknown>> {
  const urls = ["./cgroup-home.ts", "./attempt-group.ts"].map((file) => new URL(file, import.meta.url).href);
  const child = spawn(process.execPath, ["--input-type=module", "-e", CHILD, ...urls, controllers.join(",")], {
    stdio: ["pipe", "pipe", "inherit"],
  });
  let text = "";
  child.stdout.on("data", (chunk: Buffer) => (text += chunk.toString()));
  const ended = new Promise<void>((resolve) => child.once("close", () => resolve()));
  for (const pid of [child.pid as number, ...others]) writeFileSync(path.join(given, "cgroup.procs"), String(pid));
  child.stdin.end("go\n");
  await ended;
  return JSON.parse(text) as Record<string, unknown>;
}
