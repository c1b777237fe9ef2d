/** What a killed process said was committed is there, whole; and the file is claimed exactly as long as its process lives. */
import { spawn, type ChildProcess } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { afterEach, beforeEach, expect, it } from "vitest";
import type { TaskRecord } from "../../cluster/src/core/task.ts";
import { openSqliteStore } from "../../cluster/src/store/sqlite.ts";
import type { Store } from "../../cluster/src/store/store.ts";
import { newTask, settled } from "./sqlite-crash.tasks.ts";

let folder: string;
let path: string;
let child: ChildProcess | undefined;

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "store-crash-"));
  path = join(folder, "cluster.db");
});
afterEach(async () => {
  if (child !== undefined && child.exitCode === null && child.signalCode === null) {
    child.kill("SIGKILL");
    await once(child, "exit");
  }
  rmSync(folder, { recursive: true });
});

/** Kills the process when it has said `lines` lines; gives all that it said before it was gone. */
async function runAndKill(lines: number, meanwhile?: () => Promise<void>): Promise<string[]> {
  child = spawn(process.execPath, [join(import.meta.dirname, "sqlite-crash.child.ts"), path], { stdio: ["ignore", "pipe", "inherit"] });
  const gone = once(child, "exit");
  const said: string[] = [];
  for await (const line of createInterface({ input: child.stdout! })) {
    said.push(line);
    if (said.length !== lines) continue;
    await meanwhile?.();
    child.kill("SIGKILL");
  }
  expect((await gone)[1]).toBe("SIGKILL");
  return said;
}

function numbers(said: readonly string[], what: string): number[] {
  return said.filter((line) => line.startsWith(`${what} `)).map((line) => Number(line.slice(what.length + 1)));
}

/** Every task, by the last key of its batch. */
async function batches(store: Store): Promise<Map<number, TaskRecord[]>> {
  const found = new Map<number, TaskRecord[]>();
  let before: number | undefined;
  do {
    const page = await store.list({}, { limit: 500, ...(before !== undefined && { before }) });
    for (const task of page.tasks) {
      const { last } = (task.spec.input as { value: { last: number } }).value;
      found.set(last, [...(found.get(last) ?? []), task]);
    }
    before = page.next;
  } while (before !== undefined);
  return found;
}

it("kill -9 in the middle of commits loses nothing that was reported, and leaves no batch in part", async () => {
  const created = new Set<number>();
  const done = new Set<number>();
  // 1: while the file is being made or opened. The others: somewhere in a commit.
  for (const lines of [1, 1, 2, 3, 5, 6, 7, 8, 1, 9, 10, 12]) {
    const said = await runAndKill(lines);
    for (const last of numbers(said, "created")) created.add(last);
    for (const last of numbers(said, "settled")) done.add(last);
    const store = await openSqliteStore({ path });
    const found = await batches(store);
    for (const last of created) expect([...found.keys()], "reported as created").toContain(last);
    let count = 0;
    for (const [last, tasks] of found) {
      const whole = Array.from(tasks, (_, index) => newTask(last - index, last));
      expect(tasks).toStrictEqual(done.has(last) || tasks[0]?.state === "succeeded" ? whole.map(settled) : whole);
      count += tasks.length;
    }
    // Nothing is missing between the batches, so each is there from its first key on.
    expect((await store.load()).lastKey).toBe(count);
    await store.close();
  }
  expect(done.size).toBeGreaterThan(10);
});

it("the file is claimed while its process lives, and free once that is killed", async () => {
  await runAndKill(20, async () => {
    await expect(openSqliteStore({ path })).rejects.toMatchObject({ code: "already_running" });
  });
  const store = await openSqliteStore({ path });
  expect((await store.load()).lastKey).toBeGreaterThan(0);
  await store.close();
});
