/** A worker that is cut off: its work goes on as long as its leases do, and no longer. */
import type { Heartbeat } from "@openclaw-cluster/contract/wire";
import type { TaskSpec } from "@openclaw-cluster/contract/task-spec";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { FACTS, ref, WorkerGround } from "../../../tests/support/worker-ground.ts";

const COMMAND: TaskSpec = { kind: "command", input: { argv: ["work"] } };

let ground: WorkerGround;
beforeEach(() => {
  ground = new WorkerGround();
});
afterEach(() => ground.remove());

test("without the bus work goes on, and on reconnection everything is told at once", async () => {
  await ground.open();
  ground.offer({ n: 1, spec: COMMAND });
  await ground.started(ground.command.runs);
  await ground.settle();
  ground.bus.set(false);
  ground.command.last().end({ kind: "succeeded", result: "kept" });
  await ground.pass(8_000, 1_000);
  expect(ground.ends(1)).toEqual([]);
  ground.heartbeats.length = 0;
  ground.bus.set(true);
  await ground.pass(500);
  expect(await ground.outcome(1)).toEqual({ kind: "succeeded", result: "kept" });
  await ground.settle();
  expect(ground.heartbeats).toHaveLength(1);
  expect(ground.heartbeats[0]?.facts).toEqual(FACTS);
});

test("without it for nine seconds: the lease is over, what runs is stopped, what waits is given back (G6)", async () => {
  await ground.open({ slots: 1 });
  ground.offer({ n: 1, spec: COMMAND });
  await ground.started(ground.command.runs);
  ground.bus.set(false);
  await ground.pass(8_000, 1_000);
  expect(ground.command.last().execution.signal.aborted).toBe(false);
  await ground.pass(4_000, 1_000);
  expect(ground.command.last().execution.signal.reason).toBe("lease_lost");
  ground.bus.set(true);
  await ground.pass(500);
  expect(await ground.outcome(1)).toEqual({ kind: "cancelled" });
});

test("the word of a coordinator that speaks another version of the protocol renews nothing", async () => {
  await ground.open();
  ground.offer({ n: 1, spec: COMMAND });
  await ground.started(ground.command.runs);
  ground.protocol = { oldest: 8, newest: 9 };
  await ground.pass(8_000, 1_000);
  expect(ground.command.last().execution.signal.aborted).toBe(false);
  await ground.pass(4_000, 1_000);
  expect(ground.command.last().execution.signal.reason).toBe("lease_lost");
  // The older of the two was updated.
  ground.protocol = { oldest: 1, newest: 9 };
  await ground.pass(4_000, 1_000);
  ground.offer({ n: 2, spec: COMMAND });
  await ground.started(ground.command.runs, 2);
});

describe("its leases have run out, and it is back", () => {
  beforeEach(async () => {
    await ground.open({ slots: 1 });
    ground.bus.set(false);
    await ground.pass(12_000, 1_000);
    ground.renewing = false;
    ground.bus.set(true);
    await ground.pass(2_000, 500);
  });

  test("an offer that overtakes the first answer runs: whoever made it had heard this node", async () => {
    ground.offerHaving(ground.heartbeats.at(-1), { n: 1, spec: COMMAND }, { n: 2, spec: COMMAND });
    await ground.started(ground.command.runs);
    ground.offerHaving(ground.heartbeats.at(-1), { n: 3, spec: COMMAND });
    await ground.pass(1_500, 500);
    expect(ground.command.last().execution.signal.aborted).toBe(false);
    expect([1, 2, 3].flatMap((n) => ground.ends(n))).toEqual([]);
  });

  test("an offer that lay somewhere meanwhile begins nothing, and is offered again: by now that may be another node's", async () => {
    ground.offer({ n: 1, spec: COMMAND });
    ground.offerHaving(ground.heartbeats[0], { n: 2, spec: COMMAND });
    await ground.settle();
    expect(ground.command.runs).toEqual([]);
    await ground.pass(2_000, 500);
    expect(ground.heartbeats.at(-1)?.held).toEqual([]);
    expect([1, 2].flatMap((n) => ground.ends(n))).toEqual([]);
  });
});

test("a connection that stands and brings no answer renews nothing, nor does a coordinator that was replaced", async () => {
  await ground.open();
  ground.offer({ n: 1, epoch: 3, spec: COMMAND });
  await ground.started(ground.command.runs);
  ground.epoch = 2;
  await ground.pass(12_000, 1_000);
  expect(ground.command.last().execution.signal.reason).toBe("lease_lost");
  ground.epoch = 3;
  await ground.pass(2_000, 1_000);
  ground.offer({ n: 2, epoch: 3, spec: COMMAND });
  await ground.started(ground.command.runs, 2);
  await ground.pass(20_000, 1_000);
  expect(ground.command.last().execution.signal.aborted).toBe(false);
  ground.renewing = false;
  await ground.pass(12_000, 1_000);
  expect(ground.command.last().execution.signal.reason).toBe("lease_lost");
});

test("a pause that the coordinator announced costs no work, and ends", async () => {
  await ground.open();
  ground.offer({ n: 1, spec: COMMAND });
  await ground.started(ground.command.runs);
  ground.control({ kind: "pause", epoch: 1, ms: 60_000 });
  await ground.settle();
  ground.bus.set(false);
  await ground.pass(58_000, 1_000);
  expect(ground.command.last().execution.signal.aborted).toBe(false);
  await ground.pass(4_000, 1_000);
  expect(ground.command.last().execution.signal.reason).toBe("lease_lost");
});

test("a pause ends when the next coordinator answers; until then each heartbeat tells of it (L3)", async () => {
  await ground.open();
  ground.offer({ n: 1, spec: COMMAND });
  await ground.started(ground.command.runs);
  ground.renewing = false;
  ground.control({ kind: "pause", epoch: 1, ms: 120_000 });
  await ground.settle();
  ground.heartbeats.length = 0;
  await ground.pass(20_000, 1_000);
  expect(new Set(ground.heartbeats.map(({ paused }) => paused))).toEqual(new Set([true]));
  expect(ground.command.last().execution.signal.aborted).toBe(false);
  ground.renewing = true;
  ground.epoch = 2;
  await ground.pass(4_000, 1_000);
  expect(ground.heartbeats.at(-1)?.paused).toBeUndefined();
  ground.bus.set(false);
  await ground.pass(12_000, 1_000);
  expect(ground.command.last().execution.signal.reason).toBe("lease_lost");
});

test("the coordinator says how long a lease is: a laptop's work outlives a minute's tunnel, and no more", async () => {
  ground.leaseMs = 56_000;
  await ground.open();
  ground.offer({ n: 1, spec: COMMAND });
  await ground.started(ground.command.runs);
  ground.bus.set(false);
  await ground.pass(54_000, 1_000);
  expect(ground.command.last().execution.signal.aborted).toBe(false);
  await ground.pass(4_000, 1_000);
  expect(ground.command.last().execution.signal.reason).toBe("lease_lost");
});

test("an answer names what is others' by now: that is stopped, the rest goes on", async () => {
  await ground.open();
  ground.offer({ n: 1, spec: COMMAND }, { n: 2, spec: COMMAND });
  await ground.started(ground.command.runs, 2);
  ground.stop = [ref(1)];
  await ground.pass(2_000, 500);
  expect(ground.command.runs.map(({ execution }) => execution.signal.reason)).toEqual(["cancelled", undefined]);
});

test("a new time of day makes a lease no longer: it ends when it would have ended, and the node asks before", async () => {
  await ground.open();
  ground.offer({ n: 1, spec: COMMAND });
  await ground.started(ground.command.runs);
  ground.bus.set(false);
  await ground.pass(8_000, 1_000);
  ground.clock.jump(3_600_000);
  await ground.pass(500, 500);
  expect(ground.command.last().execution.signal.aborted).toBe(false);
  await ground.pass(1_500, 500);
  expect(ground.command.last().execution.signal.reason).toBe("lease_lost");
});

/** Stopped with SIGSTOP the process's clocks go on; while the machine sleeps only the time of day does, on Linux. */
describe.each([
  ["stopped", (ms: number) => ground.clock.standStill(ms)],
  ["asleep", (ms: number) => ground.clock.jump(ms)],
] as const)("%s for a minute (F05, F06)", (_how, standStill) => {
  let before: Heartbeat | undefined;
  beforeEach(async () => {
    await ground.open();
    ground.offer({ n: 1, spec: COMMAND });
    await ground.started(ground.command.runs);
    await ground.pass(2_000, 500);
    before = ground.heartbeats.at(-2);
    ground.heartbeats.length = 0;
  });

  test("it asks, and goes on with what is still its own", async () => {
    standStill(60_000);
    await ground.pass(2_000, 500);
    expect(ground.heartbeats.length).toBeGreaterThan(0);
    await ground.pass(20_000, 1_000);
    expect(ground.command.last().execution.signal.aborted).toBe(false);
  });

  test("it asks, and stops what was given to others", async () => {
    ground.stop = [ref(1)];
    standStill(60_000);
    await ground.pass(2_000, 500);
    expect(ground.command.last().execution.signal.reason).toBe("cancelled");
  });

  test("it begins nothing that lay here meanwhile before it is answered: by now that may be another node's", async () => {
    ground.renewing = false;
    standStill(60_000);
    ground.offer({ n: 2, spec: COMMAND });
    await ground.settle();
    ground.offerHaving(before, { n: 2, spec: COMMAND });
    await ground.settle();
    expect(ground.command.runs).toHaveLength(1);
    ground.renewing = true;
    await ground.pass(2_000, 500);
    ground.offer({ n: 2, spec: COMMAND });
    await ground.started(ground.command.runs, 2);
  });

  test("it gets no answer, and gives its work up", async () => {
    ground.bus.connected = false;
    standStill(60_000);
    await ground.pass(2_000, 500);
    expect(ground.command.last().execution.signal.aborted).toBe(false);
    await ground.pass(4_000, 500);
    expect(ground.command.last().execution.signal.reason).toBe("lease_lost");
  });
});
