/** A worker's life on a bus: offers, slots, stops, and what it says of them. */
import type { TaskSpec } from "@openclaw-cluster/contract/task-spec";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { NODE, ref, WorkerGround } from "../../../tests/support/worker-ground.ts";
import { Policy } from "../core/policy.ts";

const COMMAND: TaskSpec = { kind: "command", input: { argv: ["work"] } };

let ground: WorkerGround;
beforeEach(() => {
  ground = new WorkerGround();
});
afterEach(() => ground.remove());

describe("offers", () => {
  test("short tasks of one message come home in one report, without a word of their start", async () => {
    await ground.open();
    ground.offer(...Array.from({ length: 100 }, (_, index) => ({ n: index + 1 })));
    await ground.end(100);
    expect(ground.reports).toHaveLength(1);
    expect(ground.reports[0]).toMatchObject({ started: [], progressed: [] });
    expect(ground.reports[0]?.finished).toHaveLength(100);
    expect(await ground.end(7)).toMatchObject({ ...ref(7), startedAt: ground.clock.wall(), outcome: { kind: "succeeded", result: 7 } });
    for (let n = 1; n <= 100; n += 1) expect(await ground.chunks(`t${n}`, 1)).toEqual([]);
  });

  test("a doubled offer runs nothing: while it waits, while it runs, when it is over, and when that was accepted (W1)", async () => {
    await ground.open({ slots: 1 });
    ground.offer({ n: 1, spec: COMMAND }, { n: 2, spec: COMMAND });
    await ground.until(() => ground.reports.length === 1, "the start");
    ground.offer({ n: 1, spec: COMMAND }, { n: 2, spec: COMMAND });
    await ground.until(() => ground.reports.length === 2, "the start again");
    expect(ground.reports.map(({ started }) => started.map(({ task }) => task))).toEqual([["t1"], ["t1"]]);
    ground.verdict = () => undefined;
    ground.command.last().end({ kind: "succeeded" });
    await ground.end(1);
    ground.offer({ n: 1, spec: COMMAND });
    await ground.settle();
    ground.verdict = () => "accepted";
    await ground.pass(6_000, 500);
    ground.offer({ n: 1, spec: COMMAND });
    await ground.settle();
    expect(ground.command.runs.map(({ execution }) => execution.offer.task)).toEqual(["t1", "t2"]);
  });

  test("a later attempt of a task stops the earlier one, and runs", async () => {
    await ground.open();
    ground.offer({ n: 1, attempt: 1, spec: COMMAND });
    await ground.until(() => ground.command.runs.length === 1, "the first attempt");
    ground.offer({ n: 1, attempt: 2, spec: COMMAND });
    await ground.until(() => ground.command.runs.length === 2, "the second attempt");
    expect(ground.command.runs[0]?.execution.signal.reason).toBe("lease_lost");
    expect(ground.command.runs[1]?.execution.signal.aborted).toBe(false);
  });

  test("what this node does not allow, know or have room for is refused with a reason", async () => {
    ground.policy = Policy.parse({ version: 1, allow: { echo: true } });
    await ground.open();
    ground.offer(
      { n: 1, spec: COMMAND },
      { n: 2, spec: { kind: "tool", input: { tool: "x" } } },
      { n: 3, spec: { kind: "echo", input: {}, surprise: 1, timeouts: {} } },
      { n: 4, spec: { kind: "dance", input: {} } },
      { n: 5, spec: { kind: "echo", input: {}, require: { slots: 3 } } },
      { n: 6, spec: "none" },
    );
    await ground.end(6);
    const outcomes = [1, 2, 3, 4, 5, 6].map((n) => ground.ends(n)[0]?.outcome);
    expect(outcomes.map((outcome) => outcome?.kind === "refused" && outcome.error.code)).toEqual([
      "policy_denied",
      "executor_missing",
      "bad_request",
      "bad_request",
      "overloaded",
      "bad_request",
    ]);
    expect(ground.command.runs).toEqual([]);
    expect(ground.ends(1)[0]).not.toHaveProperty("startedAt");
  });

  test("the submitter is judged here, whatever the coordinator's filter let through; one of no known shape is nobody", async () => {
    ground.policy = Policy.parse({ version: 1, users: { allow: ["ann"] } });
    await ground.open();
    const ann = { token: "annannan", name: "ann" };
    ground.offer(
      { n: 1, submitter: ann },
      { n: 2, submitter: { token: "bobbobbo", name: "bob" } },
      { n: 3 },
      { n: 4, submitter: "ann" },
      { n: 5, submitter: { name: "ann" } },
    );
    await ground.end(5);
    expect([1, 2, 3, 4, 5].map((n) => ground.ends(n)[0]?.outcome)).toMatchObject([
      { kind: "succeeded" },
      { kind: "refused", error: { code: "policy_denied", message: "This node's policy: the user bob may not use this node." } },
      { kind: "refused", error: { code: "policy_denied" } },
      { kind: "refused", error: { code: "policy_denied" } },
      { kind: "refused", error: { code: "policy_denied" } },
    ]);
  });

  test("in quiet hours nothing new begins, and what runs goes on", async () => {
    // The ground's clock begins on 2023-11-14 at 22:30 in UTC.
    ground.policy = Policy.parse({
      version: 1,
      allow: { commands: ["**"] },
      hours: { quiet: ["22:31-07:00"], timeZone: "UTC", pinned: true },
    });
    await ground.open();
    ground.offer({ n: 1, spec: COMMAND });
    await ground.started(ground.command.runs);
    await ground.pass(60_000, 1_000);
    ground.offer({ n: 2, spec: COMMAND }, { n: 3, spec: { ...COMMAND, require: { nodes: [NODE] } } });
    await ground.end(2);
    expect(ground.ends(2)[0]?.outcome).toMatchObject({
      error: { code: "policy_denied", message: "This node's policy: no new work until 07:00 (UTC)." },
    });
    await ground.started(ground.command.runs, 2);
    expect(ground.command.runs.map(({ execution }) => [execution.offer.task, execution.signal.aborted])).toEqual([
      ["t1", false],
      ["t3", false],
    ]);
  });

  test("messages of no known shape are dropped, and the next one is heard", async () => {
    await ground.open();
    for (const body of [
      null,
      1,
      "x",
      [],
      {},
      { epoch: 1 },
      { epoch: "1", offers: [] },
      { epoch: 1, boot: ground.boot, offers: [null, 3, { task: "../x", attempt: 1, epoch: 1 }] },
    ]) {
      ground.coordinator.publish(`ocx.down.${NODE}.offers`, body);
      ground.coordinator.publish(`ocx.down.${NODE}.control`, body);
    }
    ground.offer({ n: 1 });
    expect(await ground.outcome(1)).toEqual({ kind: "succeeded", result: 1 });
    expect(ground.reports).toHaveLength(1);
  });

  test("an older coordinator is not obeyed, also not by the next life of the worker (I1)", async () => {
    await ground.open();
    ground.offer({ n: 1, epoch: 5 });
    await ground.end(1);
    ground.offer({ n: 2, epoch: 4 });
    ground.control({ kind: "report", epoch: 4 });
    await ground.settle();
    expect(ground.ends(2)).toEqual([]);
    await ground.crash();
    await ground.open();
    ground.offer({ n: 3, epoch: 4 });
    await ground.settle();
    expect(ground.ends(3)).toEqual([]);
    ground.offer({ n: 4, epoch: 5 });
    await ground.end(4);
  });

  test("an offer made under an earlier epoch by today's coordinator is reported under that epoch", async () => {
    await ground.open();
    ground.coordinator.publish(`ocx.down.${NODE}.offers`, {
      epoch: 7,
      boot: ground.boot,
      offers: [{ ...ref(1, 2, 6), spec: { kind: "echo", input: {} } }],
    });
    expect(await ground.end(1)).toMatchObject({ attempt: 2, epoch: 6 });
  });
});

describe("slots", () => {
  test("no more run than fit, first come first started, wide ones too", async () => {
    const worker = await ground.open({ slots: 3 });
    const wide = { ...COMMAND, require: { slots: 2 } };
    ground.offer({ n: 1, spec: wide }, { n: 2, spec: wide }, { n: 3, spec: COMMAND });
    await ground.until(() => ground.command.runs.length === 1, "the first");
    expect(worker.running).toBe(1);
    ground.command.last().end({ kind: "succeeded" });
    await ground.until(() => ground.command.runs.length === 3, "the other two");
    expect(ground.command.runs.map(({ execution }) => execution.offer.task)).toEqual(["t1", "t2", "t3"]);
  });

  test("what waits for more than two seconds goes back unrun", async () => {
    await ground.open({ slots: 1 });
    ground.offer({ n: 1, spec: COMMAND }, { n: 2, spec: COMMAND });
    await ground.until(() => ground.command.runs.length === 1, "the first");
    await ground.pass(1_900);
    expect(ground.ends(2)).toEqual([]);
    await ground.pass(300);
    expect(await ground.outcome(2)).toMatchObject({ kind: "refused", error: { code: "overloaded" } });
    ground.command.last().end({ kind: "succeeded" });
    await ground.end(1);
    expect(ground.command.runs).toHaveLength(1);
  });

  test("an executor that throws fails its attempt, not the worker", async () => {
    await ground.open();
    ground.offer({ n: 1, spec: COMMAND });
    await ground.until(() => ground.command.runs.length === 1, "the run");
    ground.command.last().fail(new Error("broken"));
    expect(await ground.outcome(1)).toEqual({ kind: "failed", error: { code: "worker_failed", message: "broken" } });
    ground.offer({ n: 2 });
    await ground.end(2);
  });
});

describe("cancel", () => {
  test("a running attempt is aborted, a waiting one never starts", async () => {
    await ground.open({ slots: 1 });
    ground.offer({ n: 1, spec: COMMAND }, { n: 2, spec: COMMAND });
    await ground.until(() => ground.command.runs.length === 1, "the start");
    ground.cancel(ref(2), ref(1));
    expect(await ground.outcome(1)).toEqual({ kind: "cancelled" });
    expect(await ground.end(1)).toHaveProperty("startedAt");
    expect(await ground.outcome(2)).toEqual({ kind: "cancelled" });
    expect(await ground.end(2)).not.toHaveProperty("startedAt");
    expect(ground.command.runs).toHaveLength(1);
    expect(ground.command.last().execution.signal.reason).toBe("cancelled");
  });

  test("one whose offer has not come is confirmed, and its offer then runs nothing", async () => {
    await ground.open();
    ground.cancel(ref(1));
    expect(await ground.outcome(1)).toEqual({ kind: "cancelled" });
    ground.offer({ n: 1 });
    ground.cancel(ref(1));
    await ground.settle();
    expect(ground.ends(1)).toHaveLength(1);
  });

  test("one that is over stays as it ended", async () => {
    await ground.open();
    ground.offer({ n: 1 });
    await ground.end(1);
    ground.cancel(ref(1));
    await ground.settle();
    expect(ground.ends(1).map(({ outcome }) => outcome.kind)).toEqual(["succeeded"]);
  });

  test("an echo that waits is woken", async () => {
    await ground.open();
    ground.offer({ n: 1, spec: { kind: "echo", input: { delayMs: 60_000 } } });
    await ground.until(() => ground.reports.length === 1, "the start");
    ground.cancel(ref(1));
    expect(await ground.outcome(1)).toEqual({ kind: "cancelled" });
  });
});

describe("time-outs", () => {
  test("of the run, of silence, and of an executor that does not stop", async () => {
    await ground.open({ slots: 3 });
    ground.offer({ n: 1, spec: { ...COMMAND, timeouts: { runMs: 1_000 } } });
    ground.offer({ n: 2, spec: { ...COMMAND, timeouts: { idleMs: 500 } } });
    await ground.until(() => ground.command.runs.length === 2, "the starts");
    const talkative = ground.command.last();
    await ground.pass(400);
    void talkative.execution.output("stdout", "still here");
    await ground.pass(300);
    expect(ground.ends(2)).toEqual([]);
    await ground.pass(400);
    expect(await ground.outcome(2)).toMatchObject({ kind: "failed", error: { code: "idle_timeout" } });
    expect(await ground.outcome(1)).toMatchObject({ kind: "failed", error: { code: "run_timeout" } });
    ground.command.obeys = false;
    ground.offer({ n: 3, spec: { ...COMMAND, timeouts: { runMs: 1_000 } } });
    await ground.until(() => ground.command.runs.length === 3, "the stubborn one");
    await ground.pass(9_800, 700);
    expect(ground.ends(3)).toEqual([]);
    await ground.pass(1_000);
    expect(await ground.outcome(3)).toMatchObject({ kind: "failed", error: { code: "run_timeout" } });
  });

  test("defaults: an agent's turn that says nothing for five minutes, any run of ten", async () => {
    await ground.open();
    ground.offer({ n: 1, spec: { kind: "agent", input: { message: "hi" } } }, { n: 2, spec: COMMAND });
    await ground.until(() => ground.command.runs.length === 1, "the starts");
    await ground.pass(301_000, 1_000);
    expect(await ground.outcome(1)).toMatchObject({ error: { code: "idle_timeout" } });
    await ground.pass(300_000, 1_000);
    expect(await ground.outcome(2)).toMatchObject({ error: { code: "run_timeout" } });
  });

  test("a success that was reached in spite of the abort stays one", async () => {
    ground.command.obeys = false;
    await ground.open();
    ground.offer({ n: 1, spec: COMMAND });
    await ground.until(() => ground.command.runs.length === 1, "the start");
    ground.cancel(ref(1));
    await ground.until(() => ground.command.last().execution.signal.aborted, "the abort");
    ground.command.last().end({ kind: "succeeded", result: "done" });
    expect(await ground.outcome(1)).toEqual({ kind: "succeeded", result: "done" });
  });
});

describe("stop", () => {
  test("says goodbye, gives back what has not started, lets the rest finish", async () => {
    const worker = await ground.open({ slots: 1 });
    ground.offer({ n: 1, spec: COMMAND }, { n: 2, spec: COMMAND });
    await ground.until(() => ground.command.runs.length === 1, "the start");
    const stopped = worker.stop({ graceMs: 60_000 });
    await ground.until(() => ground.heartbeats.at(-1)?.goodbye === "offline", "the goodbye");
    // Neither what runs nor what is given back unrun counts as lost before its report is answered.
    expect(ground.heartbeats.at(-1)?.held).toContainEqual(ref(1));
    expect(await ground.outcome(2)).toEqual({ kind: "cancelled", cause: "shutdown" });
    ground.offer({ n: 3 });
    ground.command.last().end({ kind: "succeeded" });
    await stopped;
    await ground.settle();
    expect(await ground.outcome(1)).toEqual({ kind: "succeeded" });
    expect(ground.heartbeats.at(-1)).toMatchObject({ goodbye: "offline", held: [] });
    expect(ground.ends(2)[0]).not.toHaveProperty("startedAt");
    expect(ground.ends(3)).toEqual([]);
    expect(ground.command.runs).toHaveLength(1);
  });

  test("aborts what takes longer than the grace; the coordinator learns that it is not the task's fault", async () => {
    const worker = await ground.open();
    ground.offer({ n: 1, spec: COMMAND });
    await ground.until(() => ground.command.runs.length === 1, "the start");
    const stopped = worker.stop({ graceMs: 5_000 });
    await ground.settle();
    await ground.pass(5_000, 1_000);
    await stopped;
    expect(ground.command.last().execution.signal.reason).toBe("shutdown");
    expect(await ground.outcome(1)).toEqual({ kind: "cancelled", cause: "shutdown" });
  });

  test("a sleep is a stop that this life wakes from", async () => {
    const worker = await ground.open();
    ground.offer({ n: 1, spec: COMMAND });
    await ground.until(() => ground.command.runs.length === 1, "the start");
    const handedOver = worker.sleep({ graceMs: 500 });
    await ground.until(() => ground.heartbeats.at(-1)?.goodbye === "asleep", "the goodbye");
    await ground.pass(500);
    await handedOver;
    expect(ground.command.last().execution.signal.reason).toBe("sleep");
    expect(await ground.outcome(1)).toEqual({ kind: "cancelled", cause: "sleep" });
    ground.offer({ n: 2, spec: COMMAND });
    await ground.settle();
    expect(ground.command.runs).toHaveLength(1);
    worker.wake();
    await ground.until(() => ground.heartbeats.at(-1)?.goodbye === undefined, "the heartbeat of a node that is awake");
    ground.offer({ n: 3, spec: COMMAND });
    await ground.until(() => ground.command.runs.length === 2, "a start after the waking");
  });

  test("a machine that does not sleep after all, or that nobody tells of its waking, is back after some seconds", async () => {
    const worker = await ground.open();
    await worker.sleep({ graceMs: 500 });
    await ground.pass(18_000, 1_000);
    expect(ground.heartbeats.at(-1)?.goodbye).toBe("asleep");
    await ground.pass(4_000, 1_000);
    expect(ground.heartbeats.at(-1)).not.toHaveProperty("goodbye");
  });

  test("a waking in the midst of it leaves alone what still runs", async () => {
    const worker = await ground.open();
    ground.offer({ n: 1, spec: COMMAND });
    await ground.until(() => ground.command.runs.length === 1, "the start");
    const handedOver = worker.sleep({ graceMs: 500 });
    await ground.settle();
    worker.wake();
    await ground.pass(1_000);
    await handedOver;
    expect(ground.command.last().execution.signal.aborted).toBe(false);
    expect(ground.heartbeats.at(-1)).not.toHaveProperty("goodbye");
  });

  test("the daemon can be stopped while its machine falls asleep", async () => {
    const worker = await ground.open();
    ground.offer({ n: 1, spec: COMMAND });
    await ground.until(() => ground.command.runs.length === 1, "the start");
    const handedOver = worker.sleep({ graceMs: 500 });
    const stopped = worker.stop({ graceMs: 0 });
    await ground.pass(1_000);
    await Promise.all([handedOver, stopped]);
    expect(ground.heartbeats.at(-1)).toMatchObject({ goodbye: "offline", held: [] });
  });

  test("the coordinator can ask for it", async () => {
    let asked = 0;
    await ground.open({ onShutdown: () => void asked++ });
    ground.control({ kind: "shutdown", epoch: 1 });
    await ground.settle();
    expect(asked).toBe(1);
  });
});
