/** F26 on a worker: it takes itself out of work while its disk is full, ends what runs, and goes on by itself. */
import { mkdirSync, readdirSync, symlinkSync } from "node:fs";
import path from "node:path";
import { DatabaseSync } from "node:sqlite";
import type { TaskSpec } from "@openclaw-cluster/contract/task-spec";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { WorkerGround } from "../../../tests/support/worker-ground.ts";
import { silentLog } from "../system/log.ts";
import { DiskRoom } from "./disk-room.ts";
import { Spool } from "./spool.ts";

const COMMAND: TaskSpec = { kind: "command", input: { argv: ["work"] } };
/** WorkerGround's is 10 MiB. */
const FULL = 9;
const SOME_ROOM = 11;
const ROOM = 13;

let ground: WorkerGround;
let diskFreeMiB: number;
beforeEach(() => {
  ground = new WorkerGround();
  diskFreeMiB = ROOM;
});
afterEach(() => ground.remove());

const open = (): ReturnType<WorkerGround["open"]> => ground.open({ load: async () => ({ cpu: 0, memoryFreeMiB: 1, diskFreeMiB }) });
const said = (): unknown => ground.heartbeats.at(-1)?.load.diskFull;
const refusal = async (n: number): Promise<unknown> => {
  const outcome = await ground.outcome(n);
  return outcome.kind === "refused" ? outcome.error.code : outcome.kind;
};

describe("below its floor", () => {
  test("says so, refuses new work, lets what runs go on, gives back what waits; and goes on with more than the floor", async () => {
    await open();
    ground.offer({ n: 1, spec: COMMAND }, { n: 2, spec: COMMAND }, { n: 3, spec: COMMAND });
    await ground.started(ground.command.runs, 2);
    expect(said()).toBeUndefined();
    diskFreeMiB = FULL;
    await ground.pass(2_000, 500);
    expect(said()).toBe("floor");
    expect(await refusal(3)).toBe("disk_full");
    ground.offer({ n: 4 });
    expect(await refusal(4)).toBe("disk_full");
    ground.command.runs[0]?.end({ kind: "succeeded", result: "done" });
    expect(await ground.outcome(1)).toEqual({ kind: "succeeded", result: "done" });
    // The slot that it leaves stays free.
    expect(ground.command.runs).toHaveLength(2);
    diskFreeMiB = SOME_ROOM;
    await ground.pass(4_000, 500);
    expect(said()).toBe("floor");
    diskFreeMiB = ROOM;
    await ground.pass(2_000, 500);
    expect(said()).toBeUndefined();
    ground.offer({ n: 5 });
    expect(await refusal(5)).toBe("succeeded");
  });

  test("from the start: its first heartbeat says so", async () => {
    diskFreeMiB = 0;
    await open();
    await ground.settle();
    expect(ground.heartbeats[0]?.load).toMatchObject({ diskFreeMiB: 0, diskFull: "floor" });
  });
});

describe("a spool without room", () => {
  /** SQLite's own word for a full disk, at will. */
  let fill: (isFull: boolean) => void;
  const openFull = async (): Promise<void> => {
    await ground.open({
      load: async () => ({ cpu: 0, memoryFreeMiB: 1, diskFreeMiB }),
      openSpool: (file, cluster, wallMs, log) => {
        const db = new DatabaseSync(file);
        const spool = new Spool(db, cluster, wallMs, log);
        ground.boot = spool.boot;
        const pages = Object.values(db.prepare("PRAGMA page_count").get() ?? {})[0];
        fill = (isFull) => db.exec(`PRAGMA max_page_count = ${isFull ? String(pages) : "1000000"}`);
        return spool;
      },
    });
  };
  const large = "x".repeat(10_000);
  const kept = (): number => {
    const db = new DatabaseSync(path.join(ground.folder, "spool.db"), { readOnly: true });
    const { count } = db.prepare("SELECT count(*) AS count FROM result").get() as { count: number };
    db.close();
    return count;
  };

  test("is told at once, and the result comes home all the same; with room again it is kept, and work is taken", async () => {
    await openFull();
    ground.offer({ n: 1, spec: COMMAND });
    await ground.started(ground.command.runs);
    fill(true);
    // What the worker tries before it believes in room: a write to a full disk, once.
    symlinkSync("/dev/full", path.join(ground.folder, "room.probe"));
    ground.verdict = () => undefined;
    ground.command.last().end({ kind: "succeeded", result: large });
    expect(await ground.outcome(1)).toEqual({ kind: "succeeded", result: large });
    await ground.until(() => said() === "write", "the heartbeat that says so");
    expect(kept()).toBe(0);
    ground.offer({ n: 2 });
    expect(await refusal(2)).toBe("disk_full");
    fill(false);
    ground.clock.advance(2_000);
    await ground.until(() => said() === undefined, "room again");
    expect(kept()).toBe(1);
    expect(readdirSync(ground.folder)).not.toContain("room.probe");
    ground.verdict = () => "accepted";
    ground.offer({ n: 3 });
    expect(await refusal(3)).toBe("succeeded");
  });
});

test("after a write that found no room, plenty of free space is no proof: a file must be written first", async () => {
  const changes: boolean[] = [];
  // Not there yet: as good as a quota.
  const folder = path.join(ground.folder, "later");
  const room = new DiskRoom({ folder, floorMiB: 0, log: silentLog, changed: (isFull) => void changes.push(isFull) });
  const load = { cpu: 0, memoryFreeMiB: 1, diskFreeMiB: 5_000 };
  expect(await room.judge(load)).toEqual(load);
  room.missed();
  room.missed();
  expect(await room.judge(load)).toEqual({ ...load, diskFull: "write" });
  mkdirSync(folder);
  expect(await room.judge(load)).toEqual(load);
  expect(changes).toEqual([true, false]);
});
