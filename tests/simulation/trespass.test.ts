/** A node that reaches for what is another's gets nothing, and is noted; an honest one that is late or doubled is not. */
import { TaskId } from "@openclaw-cluster/contract/ids";
import type { TaskSpec } from "@openclaw-cluster/contract/task-spec";
import type { AttemptRef, Finished, OutputChunk, Report, ReportReply } from "@openclaw-cluster/contract/wire";
import { afterEach, beforeEach, expect, test } from "vitest";
import type { Bus } from "../../cluster/src/bus/bus.ts";
import { RATION } from "../../cluster/src/bus/rations.ts";
import { blobName, outputOf, reportFrom } from "../../cluster/src/bus/subjects.ts";
import { FACTS_PACE } from "../../cluster/src/coordinator/facts-pace.ts";
import { HandClock } from "../support/hand-clock.ts";
import { playNode, type HandNode } from "../support/hand-node.ts";
import { factsOf, startRamCluster, type RamCluster } from "../support/ram-cluster.ts";

const ASK_MS = 1_000;
const NOISE = "x".repeat(900_000);
const FORGED: Finished["outcome"] = { kind: "succeeded", result: "forged" };

let cluster: RamCluster;
let clock: HandClock;
let honest: HandNode;
let evil: HandNode;
let bus: Bus;
let said: number;
beforeEach(async () => {
  clock = new HandClock();
  said = 100;
  cluster = await startRamCluster({ clock });
  [honest, evil] = [await playNode(cluster, "honest"), await playNode(cluster, "evil")];
  for (const node of [honest, evil]) node.beat(1);
  await until(() => cluster.coordinator.nodes().every(({ state }) => state === "ready"));
  bus = cluster.net.connect("evil-again");
});
afterEach(async () => {
  for (const one of [honest, evil, bus]) await one.close();
  await cluster.stop();
});

async function until(found: () => boolean): Promise<void> {
  for (let turn = 0; turn < 1_000 && !found(); turn += 1) await new Promise(setImmediate);
  expect(found()).toBe(true);
}
async function given(node: HandNode): Promise<AttemptRef> {
  const spec: TaskSpec = { kind: "echo", input: {}, require: { nodes: [node.id] } };
  const [submitted] = await cluster.coordinator.submit({ owner: "o", specs: [spec] });
  await until(() => node.offers.some(({ task }) => task === submitted?.id));
  const { task, attempt, epoch } = node.offers.at(-1) as AttemptRef;
  return { task, attempt, epoch };
}
const end = (ref: AttemptRef, outcome: Finished["outcome"] = FORGED): Finished => ({ ...ref, endedAt: 1, runMs: 1, outcome });
const report = async (node: HandNode, more: Partial<Report>): Promise<ReportReply> =>
  (await bus.request(
    reportFrom(node.id),
    { boot: 1, n: (said += 1), started: [], progressed: [], finished: [], ...more },
    ASK_MS,
  )) as ReportReply;
const noted = async (): Promise<string[]> => {
  // What was noted is committed by the turn that follows.
  await cluster.coordinator.makeToken({ name: "later", scope: "viewer" });
  const { entries } = await cluster.coordinator.auditLog({ after: 0, limit: 500 });
  return entries.filter(({ action }) => action === "node.trespassed").map(({ actor, object }) => `${actor} ${object}`);
};

test("the end of the attempt that another node holds", async () => {
  const ref = await given(honest);
  expect(await report(evil, { finished: [end(ref)] })).toMatchObject({ verdicts: ["stale"] });
  expect(await cluster.coordinator.task(ref.task)).toMatchObject({ state: "leased", node: "honest" });
  expect(await noted()).toEqual([`node evil spoke for an attempt of ${ref.task} that another node holds`]);
  expect(await report(honest, { finished: [end(ref, { kind: "succeeded", result: "honest" })] })).toMatchObject({ verdicts: ["accepted"] });
  expect(await cluster.coordinator.task(ref.task)).toMatchObject({ state: "succeeded", result: "honest" });
});

test("late, doubled and unknown ends are nothing to note", async () => {
  const ref = await given(honest);
  const ends = [end(ref), end(ref), end({ ...ref, attempt: 2 }), end({ ...ref, epoch: 9 }), end({ ...ref, task: TaskId.parse("t99") })];
  expect(await report(honest, { finished: ends })).toMatchObject({ verdicts: ["accepted", "stale", "stale", "stale", "unknown"] });
  expect(await report(evil, { finished: [end(ref), end({ ...ref, attempt: 2 })] })).toMatchObject({ verdicts: ["stale", "stale"] });
  expect(await noted()).toEqual([]);
});

test("another's name in a heartbeat, and another's blob as a result", async () => {
  evil.beat(1, { node: honest.id, goodbye: "offline" });
  const ref = await given(evil);
  await report(evil, { finished: [end(ref, { kind: "succeeded", blob: { blob: blobName(honest.id, ref.task, 1), bytes: 1 } })] });
  expect(cluster.coordinator.node(honest.id)).toMatchObject({ state: "ready" });
  expect(await cluster.coordinator.task(ref.task)).not.toMatchObject({ state: "succeeded" });
  expect(await noted()).toEqual(["node evil sent a heartbeat as honest", `node evil named a result for ${ref.task} that is not its own`]);
});

test("output under another's task is not even looked at, so nothing is noted; of earlier attempts each node's own is shown", async () => {
  const ref = await given(honest);
  const chunk = (node: HandNode, text: string, more: Partial<OutputChunk> = {}): Promise<void> => {
    const { attempt = ref.attempt } = more;
    return bus.append(outputOf(node.id, ref.task, attempt), { task: ref.task, attempt, n: 0, at: 1, stream: "stdout", text, ...more });
  };
  const read = async (follow = false): Promise<string[]> => {
    const texts: string[] = [];
    const options = { follow, signal: new AbortController().signal };
    for await (const { text } of cluster.coordinator.logs(ref.task, options)) texts.push(text);
    return texts;
  };
  const following = read(true);
  await chunk(evil, "forged", { last: true });
  await chunk(evil, "of no attempt", { attempt: 7 });
  await chunk(honest, "first");
  await bus.append(outputOf(honest.id, ref.task, 1), { task: "t99", attempt: 1, n: 0, at: 1, stream: "stdout", text: "of another task" });
  expect(await read()).toEqual(["first"]);
  expect(await noted()).toEqual([]);

  await report(honest, { finished: [end(ref, { kind: "failed", error: { code: "worker_failed", message: "" } })] });
  clock.advance(60_000);
  for (const node of [honest, evil]) node.beat(1);
  await until(() => honest.offers.filter(({ task }) => task === ref.task).length === 2);
  await chunk(evil, "forged", { attempt: 2, last: true });
  await chunk(honest, "second", { attempt: 2, last: true });
  expect(await read()).toEqual(["first", "second"]);
  clock.advance(60_000);
  await report(honest, { finished: [end({ ...ref, attempt: 2 }, { kind: "succeeded", result: "done" })] });
  expect(await following).toEqual(["first", "second"]);
  expect(await noted()).toEqual([]);
});

/** More than the coordinator hears of a node at once, in lies. */
function flood(): void {
  for (let bytes = 0; bytes <= RATION.bytesMax; bytes += NOISE.length) bus.publish(reportFrom(evil.id), NOISE);
  // And in small pieces, into what is left then.
  for (let bytes = 0; bytes <= NOISE.length; bytes += RATION.messageBytes) bus.publish(reportFrom(evil.id), "");
}

test("more than anybody listens to: it is dropped and noted, and the others are heard as before", async () => {
  flood();
  const [ofEvil, ofHonest] = [await given(evil), await given(honest)];
  // No answer, as to anything that is lost on its way.
  const lost = report(evil, { finished: [end(ofEvil)] }).catch((error: unknown) => error);
  expect(await report(honest, { finished: [end(ofHonest)] })).toMatchObject({ verdicts: ["accepted"] });
  clock.advance(ASK_MS);
  expect(await lost).toMatchObject({ code: "bus_timeout" });
  expect((await noted())[0]).toBe("node evil said more than is listened to; what was beyond it was dropped");
  // What is told again later counts.
  expect(await report(evil, { finished: [end(ofEvil)] })).toMatchObject({ verdicts: ["accepted"] });
});

test("work weighs nothing: a node may report it as fast as it is done", async () => {
  const result = "x".repeat(100_000);
  // Hardly anything is left.
  for (let bytes = NOISE.length * 2; bytes <= RATION.bytesMax; bytes += NOISE.length) bus.publish(reportFrom(evil.id), NOISE);
  for (let bytes = 0; bytes <= NOISE.length * 4; bytes += result.length)
    expect(await report(evil, { finished: [end(await given(evil), { kind: "succeeded", result })] })).toMatchObject({
      verdicts: ["accepted"],
    });
  expect(await noted()).toEqual([]);
});

test("facts that change all the time: some count at once, then the newest of them, one by one", async () => {
  const named = (hostname: string): void => evil.beat(1, { facts: factsOf({ hostname }) });
  const told = async (): Promise<string | undefined> => {
    // It comes after what was said before, and counts for nothing.
    await report(evil, { boot: 9 });
    return cluster.coordinator.node(evil.id).facts?.hostname;
  };
  // The first were its first.
  for (let n = 2; n <= FACTS_PACE.atOnce + 3; n += 1) named(`name${n}`);
  expect(await told()).toBe(`name${FACTS_PACE.atOnce}`);
  clock.advance(FACTS_PACE.everyMs);
  evil.beat(1, { facts: undefined });
  expect(await told()).toBe(`name${FACTS_PACE.atOnce + 3}`);
});

test("a disk that is full again and again has room as seldom", async () => {
  const disk = (diskFull?: "floor"): void => {
    const load = { cpu: 0, memoryFreeMiB: 1, diskFreeMiB: 1, running: 0, held: 0, ...(diskFull && { diskFull }) };
    evil.beat(1, { load });
  };
  const isFull = async (): Promise<boolean> => {
    await report(evil, { boot: 9 });
    return cluster.coordinator.node(evil.id).load?.diskFull !== undefined;
  };
  for (let n = 0; n < FACTS_PACE.atOnce; n += 1) {
    disk("floor");
    disk();
  }
  expect(await isFull()).toBe(true);
  clock.advance(FACTS_PACE.everyMs);
  disk();
  expect(await isFull()).toBe(false);
});

test("no more than some a minute are noted; the next one says how many were not", async () => {
  for (let n = 0; n < 100; n += 1) evil.beat(1, { node: honest.id });
  expect(await noted()).toHaveLength(30);
  clock.advance(60_000);
  evil.beat(1, { node: honest.id });
  await expect.poll(async () => (await noted()).at(-1)).toBe("node evil sent a heartbeat as honest (70 more before it)");
});
