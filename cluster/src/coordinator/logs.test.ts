/** A task's output, attempt by attempt, whatever else lies on the bus. */
import { NodeId, TaskId } from "@openclaw-cluster/contract/ids";
import type { Attempt } from "@openclaw-cluster/contract/task";
import type { OutputChunk } from "@openclaw-cluster/contract/wire";
import { beforeEach, expect, test } from "vitest";
import { HandClock } from "../../../tests/support/hand-clock.ts";
import type { Bus } from "../bus/bus.ts";
import { openRamNet } from "../bus/ram.ts";
import { outputOf } from "../bus/subjects.ts";
import type { TaskRecord } from "../core/task.ts";
import { readLogs, type LogSource } from "./logs.ts";

const TASK = TaskId.parse("t7");
const [NAS, AIR] = [NodeId.parse("nas"), NodeId.parse("air")];

let clock: HandClock;
let bus: Bus;
let reads: string[];
let record: { state: TaskRecord["state"]; attempt: number };
let attempts: Attempt[];
let waiting: { attempt: number; resolve: () => void }[];
let source: LogSource;
beforeEach(() => {
  clock = new HandClock();
  bus = openRamNet({ clock }).connect("all");
  reads = [];
  record = { state: "queued", attempt: 0 };
  attempts = [];
  waiting = [];
  const { read } = bus;
  bus.read = (subject, options) => (reads.push(subject), read.call(bus, subject, options));
  source = {
    bus,
    clock,
    record: async () => record as TaskRecord,
    attempts: async () => attempts,
    past: (attempt, signal) =>
      new Promise((resolve) => {
        waiting.push({ attempt, resolve });
        if (signal.aborted) resolve();
        signal.addEventListener("abort", () => resolve());
        moved();
      }),
  };
});

function moved(): void {
  for (const { attempt, resolve } of waiting) if (record.state === "succeeded" || record.attempt > attempt) resolve();
}
function given(node: NodeId, more: Partial<Attempt> = {}): void {
  const n = attempts.length + 1;
  attempts.push({ n, node, state: "running", offeredAt: 0, ...more });
  record = { state: "running", attempt: n };
  moved();
}
function over(): void {
  record = { ...record, state: "succeeded" };
  moved();
}
async function print(node: NodeId, attempt: number, n: number, more: Partial<OutputChunk> = {}): Promise<void> {
  const chunk: OutputChunk = { task: TASK, attempt, n, at: 0, stream: "stdout", text: "", ...more };
  const stored = bus.append(outputOf(node, TASK, attempt), chunk);
  await turns();
  await stored;
}
const turns = async (): Promise<void> => {
  for (let turn = 0; turn < 10; turn++) {
    clock.advance(0);
    await new Promise(setImmediate);
  }
};

/** Reads on by itself; what it got stands in `got`. */
function reader(options: { follow: boolean; attempt?: number }) {
  const end = new AbortController();
  const got: string[] = [];
  const state = { got, isOver: false, leave: () => end.abort() };
  void (async () => {
    for await (const { attempt, n } of readLogs(TASK, source, { ...options, signal: end.signal })) got.push(`${attempt}.${n}`);
    state.isOver = true;
  })();
  return state;
}

test("attempts come in their order, each from the node that ran it, and nothing else is read", async () => {
  given(NAS);
  given(AIR, { outcome: "refused" });
  given(AIR);
  await print(AIR, 3, 0);
  await print(NAS, 1, 0);
  await print(NAS, 1, 1);
  for (const node of [NAS, AIR])
    for (const attempt of [1, 2, 3, 4]) if (attempts[attempt - 1]?.node !== node) await print(node, attempt, 9);
  await print(NAS, 1, 2, { task: TaskId.parse("t8") });
  const all = reader({ follow: false });
  await turns();
  expect(all).toMatchObject({ isOver: true, got: ["1.0", "1.1", "3.0"] });
  expect(reads).toEqual([outputOf(NAS, TASK, 1), outputOf(AIR, TASK, 3)]);
  const one = reader({ follow: false, attempt: 3 });
  await turns();
  expect(one).toMatchObject({ isOver: true, got: ["3.0"] });
});

test("a follower waits for the first attempt, goes on to each next one as it starts, and ends with the task", async () => {
  const all = reader({ follow: true });
  const second = reader({ follow: true, attempt: 2 });
  await turns();
  expect([all.isOver, second.isOver, reads]).toEqual([false, false, []]);
  given(NAS);
  await print(NAS, 1, 0);
  expect(all.got).toEqual(["1.0"]);
  given(AIR);
  // It was lost: no last piece. What it prints within a second is read still.
  await print(AIR, 2, 0);
  await print(NAS, 1, 1);
  expect(all.got).toEqual(["1.0", "1.1"]);
  clock.advance(1_000);
  await turns();
  expect(all.got).toEqual(["1.0", "1.1", "2.0"]);
  await print(NAS, 1, 2);
  await print(AIR, 2, 1, { last: true });
  await turns();
  expect(all.isOver).toBe(false);
  over();
  await turns();
  for (const one of [all, second]) expect(one.isOver).toBe(true);
  expect([all.got, second.got]).toEqual([
    ["1.0", "1.1", "2.0", "2.1"],
    ["2.0", "2.1"],
  ]);
});

test("whoever follows slowly gets all of it, though the task is long over", async () => {
  given(NAS);
  for (let n = 0; n < 10; n++) await print(NAS, 1, n, n === 9 ? { last: true } : {});
  over();
  const signal = new AbortController().signal;
  const slow = readLogs(TASK, source, { follow: true, signal });
  const got: number[] = [];
  for (let n = 0; n < 10; n++) {
    got.push(((await slow.next()).value as OutputChunk).n);
    clock.advance(5_000);
    await turns();
  }
  expect((await slow.next()).done).toBe(true);
  expect(got).toEqual([0, 1, 2, 3, 4, 5, 6, 7, 8, 9]);
});

test("a piece that was stored twice is shown once", async () => {
  given(NAS);
  for (const n of [0, 1, 1, 0, 2]) await print(NAS, 1, n);
  const all = reader({ follow: false });
  await turns();
  expect(all.got).toEqual(["1.0", "1.1", "1.2"]);
});

test("who leaves ends the reading, in the midst of an attempt and before one", async () => {
  const before = reader({ follow: true });
  await turns();
  before.leave();
  given(NAS);
  const during = reader({ follow: true });
  await turns();
  during.leave();
  await turns();
  expect([before.isOver, during.isOver]).toEqual([true, true]);
});
