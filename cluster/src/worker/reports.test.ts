/** What a worker tells, and that it tells it until it is answered: reports, the spool, heartbeats. */
import { readdirSync, writeFileSync } from "node:fs";
import path from "node:path";
import type { ClusterId } from "@openclaw-cluster/contract/ids";
import { LIMITS } from "@openclaw-cluster/contract/limits";
import type { TaskSpec } from "@openclaw-cluster/contract/task-spec";
import type { Finished } from "@openclaw-cluster/contract/wire";
import fc from "fast-check";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { FACTS, ref, WorkerGround } from "../../../tests/support/worker-ground.ts";
import { BODY_BYTES_MAX } from "../bus/bus.ts";
import { Policy } from "../core/policy.ts";

const COMMAND: TaskSpec = { kind: "command", input: { argv: ["work"] } };
const AGENT: TaskSpec = { kind: "agent", input: { message: "hello" } };

let ground: WorkerGround;
beforeEach(() => {
  ground = new WorkerGround();
});
afterEach(() => ground.remove());

describe("reports", () => {
  test("a result is sent until it has a verdict, whatever the verdict is (W2)", async () => {
    await ground.open();
    ground.verdict = () => undefined;
    ground.offer({ n: 1 });
    await ground.end(1);
    await ground.pass(20_000, 500);
    expect(ground.ends(1).length).toBeGreaterThan(2);
    expect(ground.heartbeats.at(-1)?.held).toEqual([ref(1)]);
    ground.verdict = () => "stale";
    await ground.pass(6_000, 500);
    const count = ground.ends(1).length;
    await ground.pass(20_000, 500);
    expect(ground.ends(1)).toHaveLength(count);
    expect(ground.heartbeats.at(-1)?.held).toEqual([]);
  });

  test("a verdict of a coordinator that was replaced does not count: its successor gets the result", async () => {
    await ground.open();
    ground.epoch = 2;
    ground.offer({ n: 1, epoch: 2, spec: COMMAND });
    await ground.started(ground.command.runs);
    ground.epoch = 1;
    ground.verdict = () => "stale";
    ground.command.last().end({ kind: "succeeded" });
    await ground.end(1);
    await ground.pass(1_000, 500);
    expect(ground.ends(1).length).toBeGreaterThan(1);
    ground.epoch = 2;
    ground.verdict = () => "accepted";
    await ground.pass(2_000, 500);
    const count = ground.ends(1).length;
    await ground.pass(5_000, 500);
    expect(ground.ends(1)).toHaveLength(count);
    expect(ground.heartbeats.at(-1)?.held).toEqual([]);
  });

  test("a coordinator of an older build is told in words that it knows, once it has said what it speaks", async () => {
    await ground.open();
    ground.verdict = () => undefined;
    ground.offer({ n: 1, spec: COMMAND });
    await ground.started(ground.command.runs);
    ground.command.last().end({ kind: "failed", error: { code: "model_failed", message: "no memory" } });
    await ground.end(1);
    const codes = (): (string | undefined)[] =>
      ground.ends(1).map(({ outcome }) => (outcome.kind === "failed" ? outcome.error.code : undefined));
    ground.protocol = { oldest: 1, newest: 1 };
    await ground.pass(12_000, 500);
    expect(codes().at(-1)).toBe("agent_failed");
    ground.protocol = { oldest: 1, newest: 2 };
    await ground.pass(12_000, 500);
    expect(codes().at(-1)).toBe("model_failed");
  });

  test("nobody listens: the results wait for the coordinator, in order", async () => {
    await ground.open();
    ground.bus.set(false);
    ground.bus.set(true);
    await ground.settle();
    ground.verdict = () => undefined;
    ground.offer({ n: 1 }, { n: 2 });
    await ground.end(2);
    ground.offer({ n: 3 });
    await ground.settle();
    ground.verdict = () => "accepted";
    await ground.pass(12_000, 500);
    const last = ground.reports.slice(-1)[0]?.finished.map(({ task }) => task) ?? [];
    expect(new Set(last).size).toBe(last.length);
    expect(ground.heartbeats.at(-1)?.held).toEqual([]);
  });

  test("no report is larger than a message, and every result arrives", async () => {
    await ground.open();
    const value = "x".repeat(200_000);
    for (let n = 1; n <= 12; n++) ground.offer({ n, spec: { kind: "echo", input: { value } } });
    for (let n = 1; n <= 12; n++) expect(await ground.end(n)).toBeDefined();
    for (const report of ground.reports) expect(JSON.stringify(report).length).toBeLessThan(BODY_BYTES_MAX);
  });

  test("progress comes gathered, with its latest word; an act is told at once and stays told", async () => {
    await ground.open();
    ground.offer({ n: 1, spec: AGENT });
    await ground.started(ground.agent.runs);
    const { execution, end } = ground.agent.last();
    await ground.settle();
    ground.reports.length = 0;
    for (let step = 1; step <= 50; step++) execution.progress({ fraction: step / 50 });
    await ground.settle();
    expect(ground.reports).toHaveLength(0);
    await ground.pass(200);
    expect(ground.reports.map(({ progressed }) => progressed)).toEqual([[{ ...ref(1), progress: { fraction: 1 } }]]);
    execution.acted();
    execution.acted();
    await ground.settle();
    expect(ground.reports.slice(1).map(({ progressed }) => progressed)).toEqual([[{ ...ref(1), progress: { fraction: 1 }, acted: true }]]);
    end({ kind: "succeeded" });
    expect(await ground.end(1)).toMatchObject({ acted: true });
  });

  test("a result beyond what a message holds becomes a blob, and beyond all bounds an error", async () => {
    await ground.open();
    const value = "x".repeat(LIMITS.resultBytesInlineMax);
    ground.offer({ n: 1, spec: COMMAND }, { n: 2, spec: COMMAND });
    await ground.started(ground.command.runs, 2);
    ground.command.runs[0]?.end({ kind: "succeeded", result: value });
    ground.command.runs[1]?.end({ kind: "succeeded", result: "x".repeat(LIMITS.resultBytesBlobMax) });
    const outcome = await ground.outcome(1);
    expect(outcome).toEqual({ kind: "succeeded", blob: { blob: "n1.t1.1", bytes: value.length + 2 } });
    const bytes = await ground.coordinator.getBlob("n1.t1.1");
    expect(JSON.parse(Buffer.from(bytes ?? []).toString("utf8")) === value).toBe(true);
    expect(await ground.outcome(2)).toMatchObject({ kind: "failed", error: { code: "result_too_large" } });
  });

  test("an executor's long error is cut", async () => {
    await ground.open();
    ground.offer({ n: 1, spec: COMMAND });
    await ground.started(ground.command.runs);
    ground.command.last().end({
      kind: "failed",
      error: { code: "command_failed", message: "m".repeat(9_000), data: { exitCode: 1, log: "d".repeat(100_000) } },
    });
    const outcome = await ground.outcome(1);
    if (outcome.kind !== "failed") throw new Error("expected a failure");
    expect(outcome.error.message).toHaveLength(4_096);
    expect(outcome.error.data).toEqual({ leftOutBytes: 100_023 });
  });
});

describe("the next life", () => {
  test("delivers what the last one could not: a command's result, not a short echo's (F02)", async () => {
    ground.verdict = () => undefined;
    await ground.open();
    ground.offer({ n: 1, spec: COMMAND }, { n: 2 }, { n: 3, spec: { kind: "echo", input: {}, onLost: "fail" } });
    await ground.started(ground.command.runs);
    ground.command.last().end({ kind: "succeeded", result: { exitCode: 0 } });
    await ground.end(1);
    const first = ground.heartbeats[0]?.boot ?? 0;
    await ground.crash();
    ground.reports.length = 0;
    ground.verdict = () => "accepted";
    await ground.open();
    expect(await ground.outcome(1)).toEqual({ kind: "succeeded", result: { exitCode: 0 } });
    await ground.end(3);
    expect(ground.ends(2)).toEqual([]);
    expect(ground.heartbeats.at(-1)?.boot).toBeGreaterThan(first);
    ground.offer({ n: 1, spec: COMMAND });
    await ground.settle();
    expect(ground.command.runs).toHaveLength(1);
    await ground.crash();
    ground.reports.length = 0;
    await ground.open();
    await ground.settle();
    expect(ground.reports).toEqual([]);
  });

  test("takes a resumable attempt up again, as the same attempt, and says that it is held", async () => {
    const submitter = { token: "annannan", name: "ann" };
    await ground.open();
    ground.offer({ n: 1, attempt: 2, spec: AGENT, submitter }, { n: 2, spec: COMMAND });
    await ground.started(ground.agent.runs);
    expect(ground.agent.last().execution.resumed).toBe(false);
    ground.agent.last().execution.acted();
    await ground.agent.last().execution.output("assistant", "first words");
    await ground.pass(100);
    await ground.crash();
    ground.heartbeats.length = 0;
    await ground.open();
    await ground.started(ground.agent.runs, 2);
    await ground.until(() => ground.heartbeats.length > 0, "a heartbeat");
    expect(ground.heartbeats[0]?.held).toEqual([ref(1, 2)]);
    const again = ground.agent.last();
    // For whom it runs is asked anew, and its session is theirs.
    expect(again.execution.offer).toEqual({ ...ref(1, 2), spec: AGENT, submitter });
    expect(again.execution.resumed).toBe(true);
    await again.execution.output("assistant", "more words");
    again.end({ kind: "succeeded", result: "said" });
    expect(await ground.end(1)).toMatchObject({ ...ref(1, 2), acted: true, outcome: { kind: "succeeded", result: "said" } });
    expect((await ground.chunks("t1", 2)).map(({ n, text, last }) => [n, text, last])).toEqual([
      [0, "first words", undefined],
      [1_000_000, "more words", true],
    ]);
    await ground.crash();
    await ground.open();
    await ground.settle();
    expect(ground.agent.runs).toHaveLength(2);
  });

  test("does not take up what a stop in good order has handed back", async () => {
    const worker = await ground.open();
    ground.offer({ n: 1, spec: AGENT });
    await ground.started(ground.agent.runs);
    const stopped = worker.stop({ graceMs: 1_000 });
    await ground.settle();
    await ground.pass(1_000);
    await stopped;
    expect(await ground.outcome(1)).toEqual({ kind: "cancelled", cause: "shutdown" });
    expect(ground.heartbeats.at(-1)).toMatchObject({ goodbye: "offline", held: [] });
    await ground.crash();
    await ground.open();
    await ground.settle();
    expect(ground.agent.runs).toHaveLength(1);
  });

  test("hands an attempt back whose executor it does not have any more", async () => {
    await ground.open();
    ground.offer({ n: 1, spec: AGENT });
    await ground.started(ground.agent.runs);
    await ground.crash();
    await ground.open({ executors: new Map() });
    expect(await ground.end(1)).toMatchObject({ ...ref(1), outcome: { kind: "cancelled" } });
    expect(await ground.end(1)).toHaveProperty("startedAt");
  });

  test("of another cluster knows nothing of this one's tasks", async () => {
    ground.verdict = () => undefined;
    await ground.open();
    ground.offer({ n: 1, epoch: 9, spec: AGENT }, { n: 2, epoch: 9, spec: COMMAND });
    await ground.started(ground.command.runs);
    ground.command.last().end({ kind: "succeeded" });
    await ground.end(2);
    await ground.crash();
    ground.reports.length = 0;
    ground.verdict = () => "accepted";
    await ground.open({ cluster: "zzzz9999" as ClusterId });
    ground.offer({ n: 1, epoch: 1 });
    await ground.end(1);
    expect(ground.ends(2)).toEqual([]);
    expect(ground.agent.runs).toHaveLength(1);
  });

  test("begins anew where the spool is no database any more, and counts on", async () => {
    writeFileSync(path.join(ground.folder, "spool.db"), "not a database ".repeat(100));
    await ground.open();
    ground.offer({ n: 1 });
    await ground.end(1);
    expect(readdirSync(ground.folder).some((name) => name.startsWith("spool.db.damaged"))).toBe(true);
    expect(ground.heartbeats[0]?.boot).toBeGreaterThan(1_000_000);
  });

  test("sweeps before it takes offers: executors end what the last one left running", async () => {
    const swept: string[] = [];
    const executor = Object.assign(ground.command, { sweep: async (folder: string) => void swept.push(folder) });
    await ground.open({ executors: new Map([["command", executor]]) });
    expect(swept).toEqual([path.join(ground.folder, "attempts")]);
  });

  test("finds no folder of an earlier attempt", async () => {
    await ground.open();
    ground.offer({ n: 1, spec: COMMAND }, { n: 2, spec: COMMAND });
    await ground.started(ground.command.runs, 2);
    for (const { execution } of ground.command.runs) writeFileSync(path.join(execution.folder, "file"), "x");
    ground.command.runs[0]?.end({ kind: "succeeded" });
    await ground.end(1);
    const attempts = path.join(ground.folder, "attempts");
    await ground.until(() => readdirSync(attempts).length === 1, "the folder to go");
    expect(readdirSync(attempts)).toEqual(["t2.1"]);
    await ground.crash();
    await ground.open();
    expect(readdirSync(ground.folder)).not.toContain("attempts");
  });
});

describe("heartbeats", () => {
  test("every two seconds; facts with the first, when they change, and when asked", async () => {
    const worker = await ground.open();
    await ground.pass(6_000, 500);
    expect(ground.heartbeats.map(({ facts }) => facts?.labels)).toEqual([{}, undefined, undefined, undefined]);
    expect(ground.heartbeats[0]?.load).toEqual({ cpu: 0.5, memoryFreeMiB: 100, diskFreeMiB: 100, running: 0, held: 0 });
    ground.facts = { ...FACTS, labels: { room: "office" } };
    worker.refreshFacts();
    await ground.settle();
    expect(ground.heartbeats.at(-1)?.facts?.labels).toEqual({ room: "office" });
    await ground.pass(2_000, 500);
    expect(ground.heartbeats.at(-1)?.facts).toBeUndefined();
    ground.control({ kind: "report", epoch: 1 });
    await ground.settle();
    expect(ground.heartbeats.at(-1)?.facts?.labels).toEqual({ room: "office" });
    ground.facts = { ...FACTS, labels: { room: "cellar" } };
    await ground.pass(32_000, 1_000);
    expect(ground.heartbeats.findLast(({ facts }) => facts !== undefined)?.facts?.labels).toEqual({ room: "cellar" });
  });

  test("do not wait long for facts", async () => {
    const never = Promise.withResolvers<typeof FACTS>();
    const opening = ground.open({ facts: () => never.promise });
    await ground.settle();
    await ground.pass(5_000, 500);
    await opening;
    await ground.settle();
    expect(ground.heartbeats).toHaveLength(1);
    expect(ground.heartbeats[0]?.facts).toBeUndefined();
    never.resolve(FACTS);
    await ground.pass(2_000, 500);
    expect(ground.heartbeats.at(-1)?.facts).toEqual(FACTS);
  });

  test("a change that comes while the facts are being gathered is told next, not half a minute later", async () => {
    const slow = Promise.withResolvers<void>();
    let gathered = 0;
    const facts = async (): Promise<typeof FACTS> => {
      gathered++;
      const seen = ground.facts;
      if (gathered === 1) await slow.promise;
      return seen;
    };
    const opening = ground.open({ facts });
    await ground.until(() => gathered === 1, "the first look");
    ground.facts = { ...FACTS, labels: { room: "office" } };
    await ground.pass(5_000, 500);
    (await opening).refreshFacts();
    slow.resolve();
    await ground.settle();
    expect(ground.heartbeats.at(-1)?.facts?.labels).toEqual({ room: "office" });
    expect(gathered).toBe(2);
  });

  test("name everything held: running, waiting, and not yet accepted", async () => {
    ground.verdict = () => undefined;
    await ground.open({ slots: 1 });
    ground.offer({ n: 1 }, { n: 2, spec: COMMAND }, { n: 3, spec: COMMAND });
    await ground.end(1);
    await ground.pass(2_000, 500);
    expect(
      ground.heartbeats
        .at(-1)
        ?.held.map(({ task }) => task)
        .toSorted(),
    ).toEqual(["t1", "t2", "t3"]);
    expect(ground.heartbeats.at(-1)?.load).toMatchObject({ running: 1, held: 3 });
  });
});

test("whatever the bus loses, doubles or delays: each attempt runs once at most, and each offer that arrives gets its verdict", async () => {
  await fc.assert(
    fc.asyncProperty(
      fc.array(fc.constantFrom<number[]>([0], [0], [0], [], [0, 0], [700], [0, 3_000]), { minLength: 20, maxLength: 20 }),
      async (fates) => {
        let passage = 0;
        let harm = true;
        const wild = new WorkerGround({ faults: () => (harm ? (fates[passage++ % fates.length] ?? []) : [0]) });
        wild.policy = Policy.parse({ version: 1, allow: { commands: ["**"] } });
        const accepted = new Map<string, Finished>();
        wild.verdict = (finished) => {
          if (accepted.has(finished.task)) return "stale";
          accepted.set(finished.task, finished);
          return "accepted";
        };
        const worker = await wild.open();
        for (let n = 1; n <= 12; n++) {
          wild.offer({ n, spec: n % 3 === 0 ? COMMAND : { kind: "echo", input: { value: n } } });
          await wild.pass(200);
          for (const run of wild.command.runs) run.end({ kind: "succeeded" });
        }
        harm = false;
        await wild.pass(15_000, 500);
        for (const run of wild.command.runs) run.end({ kind: "succeeded" });
        await wild.pass(15_000, 500);
        const runs = wild.command.runs.map(({ execution }) => execution.offer.task);
        expect(new Set(runs).size).toBe(runs.length);
        expect(wild.heartbeats.at(-1)?.held).toEqual([]);
        for (const task of runs) expect(accepted.has(task)).toBe(true);
        expect(worker.running).toBe(0);
        await wild.remove();
      },
    ),
    { numRuns: 10 },
  );
});
