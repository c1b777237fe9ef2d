/** The three acts of a task's way, with every room but the wire in its real form. */
import type { ClusterEvent } from "@openclaw-cluster/contract/events";
import type { NodeId, TaskId } from "@openclaw-cluster/contract/ids";
import type { TaskSpec } from "@openclaw-cluster/contract/task-spec";
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { startRamCluster, type RamCluster } from "../support/ram-cluster.ts";

const echo = (value: unknown, more: object = {}): TaskSpec => ({ kind: "echo", input: { value }, ...more }) as TaskSpec;
const never = new AbortController().signal;

let cluster: RamCluster;
beforeEach(async () => {
  cluster = await startRamCluster();
});
afterEach(() => cluster.stop());

async function submit(...specs: TaskSpec[]): Promise<TaskId[]> {
  const submitted = await cluster.coordinator.submit({ owner: "me", specs });
  return submitted.map(({ id }) => id);
}

async function end(id: TaskId, ms = 5_000) {
  return cluster.coordinator.waitFor(id, ms, never);
}

const ready = (count: number): Promise<void> =>
  vi.waitFor(() => expect(cluster.coordinator.nodes().filter(({ state }) => state === "ready")).toHaveLength(count));

describe("a task's way", () => {
  it("goes from submit to result, with the reason for its placement", async () => {
    await cluster.addWorker("studio");
    const [id] = (await submit(echo({ hello: "world" }))) as [TaskId];
    expect(await end(id)).toMatchObject({ state: "succeeded", result: { hello: "world" }, node: "studio", attempt: 1 });
    expect(await cluster.coordinator.why(id)).toMatchObject({ node: "studio" });
    expect(await cluster.coordinator.attempts(id)).toMatchObject([{ n: 1, outcome: "succeeded", node: "studio" }]);
  });

  it("spreads over the nodes, each task once", async () => {
    await cluster.addWorker("studio");
    await cluster.addWorker("nas");
    await ready(2);
    const ids = await submit(...Array.from({ length: 500 }, (_, index) => echo(index)));
    const tasks = await Promise.all(ids.map((id) => end(id)));
    expect(tasks.map(({ result }) => result)).toEqual(Array.from({ length: 500 }, (_, index) => index));
    expect(new Set(tasks.map(({ node }) => node))).toEqual(new Set(["studio", "nas"]));
    expect(tasks.every(({ attempt }) => attempt === 1)).toBe(true);
    const nodes = cluster.coordinator.nodes();
    expect(nodes.map(({ slotsUsed }) => slotsUsed)).toEqual([0, 0]);
    expect(nodes.reduce((sum, { succeeded }) => sum + succeeded, 0)).toBe(500);
  });

  it("waits with a reason when no node can run it, and starts when one appears", async () => {
    await cluster.addWorker("studio");
    const [id] = (await submit(echo(1, { require: { labels: { gpu: "yes" } } }))) as [TaskId];
    const why = await cluster.coordinator.why(id);
    expect(why.refused).toMatchObject([{ node: "studio", code: "labels" }]);
    expect((await cluster.coordinator.task(id)).state).toBe("queued");
    await cluster.addWorker("gaming", { labels: { gpu: "yes" } });
    expect(await end(id)).toMatchObject({ state: "succeeded", node: "gaming" });
  });

  it("retries what failed and may pass, then gives up", async () => {
    await cluster.addWorker("studio");
    const [id] = (await submit({ kind: "echo", input: { fail: true }, retry: { max: 2, backoffMs: 1 } })) as [TaskId];
    expect(await end(id)).toMatchObject({ state: "failed", reason: "attempts_spent", attempt: 3 });
    expect((await cluster.coordinator.attempts(id)).map(({ outcome }) => outcome)).toEqual(["failed", "failed", "failed"]);
    expect((await cluster.coordinator.retry(id)).state).toMatch(/queued|leased/);
    expect(await end(id)).toMatchObject({ state: "failed", attempt: 6 });
  });

  it("a person's cancel is final in every state", async () => {
    const [queued] = (await submit(echo(1))) as [TaskId];
    expect((await cluster.coordinator.cancel(queued)).state).toBe("cancelled");
    await cluster.addWorker("studio");
    const [running] = (await submit({ kind: "echo", input: { delayMs: 60_000 } })) as [TaskId];
    await vi.waitFor(async () => expect((await cluster.coordinator.task(running)).state).toBe("running"));
    expect((await cluster.coordinator.cancel(running)).state).toBe("cancelling");
    expect(await end(running)).toMatchObject({ state: "cancelled" });
    await expect(cluster.coordinator.cancel(running)).rejects.toMatchObject({ code: "state_conflict" });
  });
});

describe("submits", () => {
  it("K1–K3: a key stands for its tasks, in the store, in one turn and in one array", async () => {
    const idempotency = { key: "k", bodyHash: "h" };
    const request = { owner: "me", idempotency, specs: [echo(1), echo(2)] };
    const [first, second] = await Promise.all([cluster.coordinator.submit(request), cluster.coordinator.submit(request)]);
    expect(second.map(({ id }) => id)).toEqual(first.map(({ id }) => id));
    await cluster.restartCoordinator();
    expect((await cluster.coordinator.submit(request)).map(({ id }) => id)).toEqual(first.map(({ id }) => id));
    await expect(cluster.coordinator.submit({ ...request, idempotency: { key: "k", bodyHash: "other" } })).rejects.toMatchObject({
      code: "idempotency_mismatch",
    });
    expect((await cluster.coordinator.submit({ ...request, owner: "you" })).map(({ id }) => id)).not.toEqual(first.map(({ id }) => id));

    const [one, same, other] = await submit(echo(1, { dedupeKey: "d" }), echo(1, { dedupeKey: "d" }), echo(1));
    expect(same).toBe(one);
    expect(other).not.toBe(one);
    await expect(submit(echo(2, { dedupeKey: "d" }))).rejects.toMatchObject({ code: "idempotency_mismatch" });
  });
});

describe("a coordinator that comes back", () => {
  it("goes on with what was queued, running and finished unseen", async () => {
    const worker = await cluster.addWorker("studio");
    const [slow] = (await submit({ kind: "echo", input: { delayMs: 300, value: "slow" } })) as [TaskId];
    const [waits] = (await submit(echo("later", { require: { labels: { room: "attic" } } }))) as [TaskId];
    await vi.waitFor(() => expect(worker.running).toBe(1));
    await cluster.restartCoordinator();
    expect(await end(slow)).toMatchObject({ state: "succeeded", result: "slow", attempt: 1 });
    expect((await cluster.coordinator.task(waits)).state).toBe("queued");
    const [next] = (await submit(echo("next"))) as [TaskId];
    expect(Number(next.slice(1))).toBeGreaterThan(Number(waits.slice(1)));
    await cluster.coordinator.patchNode("studio" as NodeId, { labels: { room: "attic" } });
    expect(await end(waits)).toMatchObject({ state: "succeeded", result: "later" });
  });
});

describe("the event feed", () => {
  it("tells of each change in order, resumes after an id, and says when there is a gap", async () => {
    await cluster.addWorker("studio");
    const stop = new AbortController();
    const seen: ClusterEvent[] = [];
    const reading = (async () => {
      for await (const events of cluster.coordinator.events(undefined, stop.signal)) seen.push(...events);
    })();
    const ids = await submit(...Array.from({ length: 20 }, (_, index) => echo(index)));
    await vi.waitFor(() => expect(seen.filter((event) => event.type === "task" && event.state === "succeeded")).toHaveLength(20));
    stop.abort();
    await reading;
    expect(seen.map(({ id }) => id)).toEqual([...seen.map(({ id }) => id)].sort((a, b) => a - b));
    expect(ids).toContain(seen.flatMap((event) => (event.type === "task" ? [event.task] : []))[0]);

    const middle = seen[Math.floor(seen.length / 2)] as ClusterEvent;
    const again = new AbortController();
    for await (const events of cluster.coordinator.events(middle.id, again.signal)) {
      expect(events[0]?.id).toBe(middle.id + 1);
      again.abort();
    }
    const ancient = new AbortController();
    for await (const events of cluster.coordinator.events(1, ancient.signal)) {
      expect(events[0]?.type).toBe("gap");
      ancient.abort();
    }
  });
});

it("a drained node gets nothing new and says so", async () => {
  await cluster.addWorker("studio");
  await ready(1);
  await cluster.coordinator.drain("studio" as NodeId, true);
  const [id] = (await submit(echo(1))) as [TaskId];
  expect((await cluster.coordinator.why(id)).refused).toMatchObject([{ code: "draining" }]);
  await cluster.coordinator.drain("studio" as NodeId, false);
  expect(await end(id)).toMatchObject({ state: "succeeded" });
});
