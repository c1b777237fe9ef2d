/** A coordinator whose queue has taken all the memory that it may: it refuses, loses nothing, and goes on when there is room. */
import { LIMITS } from "@openclaw-cluster/contract/limits";
import type { Submitted } from "@openclaw-cluster/contract/task";
import type { TaskSpec } from "@openclaw-cluster/contract/task-spec";
import { afterEach, beforeEach, expect, test } from "vitest";
import { BODY_BYTES_MAX } from "../../cluster/src/bus/bus.ts";
import { specBytes } from "../../cluster/src/core/spec-size.ts";
import { startRamCluster, type RamCluster } from "../support/ram-cluster.ts";

// One object, however often it is submitted: the queue is full by its own count, and the test stays small.
const LARGE: TaskSpec = { kind: "echo", input: { value: "x".repeat(250_000) }, require: { labels: { room: "nowhere" } } };

let cluster: RamCluster;
beforeEach(async () => {
  cluster = await startRamCluster();
});
afterEach(() => cluster.stop());

test("submits are refused from the limit on, and accepted again when something has ended", async () => {
  const { coordinator } = cluster;
  const submit = (count: number) => coordinator.submit({ owner: "me", specs: Array.from({ length: count }, () => LARGE) });
  const [first] = await submit(Math.ceil(LIMITS.liveBytesMax / specBytes(LARGE)));
  await expect(submit(1)).rejects.toMatchObject({ code: "overloaded", retryAfterMs: 1_000 });
  await coordinator.cancel((first as Submitted).id);
  expect(await submit(1)).toHaveLength(1);
  await expect(submit(1)).rejects.toMatchObject({ code: "overloaded" });

  const again = await cluster.restartCoordinator();
  expect(again.queue(1).queued).toBe(Math.ceil(LIMITS.liveBytesMax / specBytes(LARGE)));
  await expect(again.submit({ owner: "me", specs: [LARGE] })).rejects.toMatchObject({ code: "overloaded" });
});

test("F17: while no node can be reached tasks are accepted up to the limit, and given out in their order afterwards", async () => {
  const { coordinator } = cluster;
  const parked: TaskSpec = { kind: "echo", input: {}, require: { labels: { room: "nowhere" } } };
  const submit = (count: number, spec: TaskSpec) => coordinator.submit({ owner: "me", specs: Array.from({ length: count }, () => spec) });
  const wanted: string[] = [];
  for (const priority of [2, 9, 4]) {
    const made = await submit(300, { kind: "echo", input: {}, priority });
    if (priority === 9) wanted.unshift(...made.map(({ id }) => id));
    else wanted.splice(priority === 2 ? wanted.length : 300, 0, ...made.map(({ id }) => id));
  }
  for (let left = LIMITS.liveTasksMax - wanted.length; left > 0; left -= 1_000) await submit(Math.min(1_000, left), parked);
  await expect(submit(1, parked)).rejects.toMatchObject({ code: "overloaded", retryAfterMs: 1_000 });

  const leave = new AbortController();
  const given: string[] = [];
  const listening = (async () => {
    for await (const events of coordinator.events(undefined, leave.signal)) {
      for (const event of events) if (event.type === "task" && event.state === "leased") given.push(event.task);
      if (given.length === wanted.length) return;
    }
  })();
  await cluster.addWorker("studio");
  await listening;
  expect(given).toEqual(wanted);
  await expect.poll(() => coordinator.queue(1).queued).toBe(LIMITS.liveTasksMax - wanted.length);
  await expect.poll(() => submit(1, parked)).toHaveLength(1);
  leave.abort();
});

test("tasks that are large in everything but their input are given out like others: no message is larger than the bus takes", async () => {
  const { coordinator } = cluster;
  const filled = (name: string): Record<string, string> =>
    Object.fromEntries(Array.from({ length: LIMITS.labelsMax }, (_, n) => [`${name}${n}`, "\u0001".repeat(LIMITS.labelCharsMax)]));
  const spec: TaskSpec = { kind: "echo", input: {}, labels: filled("filed"), name: "\u0001".repeat(LIMITS.labelCharsMax) };
  const made = await coordinator.submit({ owner: "me", specs: Array.from({ length: 50 }, () => spec) });
  expect(50 * JSON.stringify(spec).length).toBeGreaterThan(BODY_BYTES_MAX);
  await cluster.addWorker("studio");
  for (const { id } of made) await expect.poll(async () => (await coordinator.task(id)).state).toBe("succeeded");
});
