/** Many tasks at once, in the real coordinator: nothing by halves, nothing twice, and everything else goes on meanwhile. */
import { ClusterError } from "@openclaw-cluster/contract/errors";
import type { TaskId } from "@openclaw-cluster/contract/ids";
import { LIMITS } from "@openclaw-cluster/contract/limits";
import { TERMINAL } from "@openclaw-cluster/contract/task";
import type { TaskSpec } from "@openclaw-cluster/contract/task-spec";
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { openRamStore } from "../../cluster/src/store/ram.ts";
import type { Batch, Store } from "../../cluster/src/store/store.ts";
import { startRamCluster, type RamCluster } from "../support/ram-cluster.ts";

let cluster: RamCluster;
/** Batches that were committed, and what to do before one is. */
let batches: Batch[];
let beforeCommit: (batch: Batch) => void;
beforeEach(async () => {
  batches = [];
  beforeCommit = () => undefined;
  const store = openRamStore();
  const watched: Store = {
    kind: store.kind,
    claim: () => store.claim(),
    load: () => store.load(),
    commit: async (batch) => {
      beforeCommit(batch);
      await store.commit(batch);
      batches.push(batch);
    },
    task: (key) => store.task(key),
    list: (filter, page) => store.list(filter, page),
    attempts: (key) => store.attempts(key),
    submitKey: (owner, key) => store.submitKey(owner, key),
    audit: (page) => store.audit(page),
    prune: (options) => store.prune(options),
    backup: (path) => store.backup(path),
    bytes: () => store.bytes(),
    close: () => store.close(),
  };
  cluster = await startRamCluster({ store: watched });
});
afterEach(() => cluster.stop());

const labelled = (batch: string, more: Partial<TaskSpec> = {}): TaskSpec =>
  ({ kind: "echo", input: {}, labels: { batch }, ...more }) as TaskSpec;

async function submit(count: number, spec: TaskSpec): Promise<TaskId[]> {
  const ids: TaskId[] = [];
  while (ids.length < count) {
    const specs = Array.from({ length: Math.min(LIMITS.submitTasksMax, count - ids.length) }, () => spec);
    ids.push(...(await cluster.coordinator.submit({ owner: "me", specs })).map(({ id }) => id));
  }
  return ids;
}

const end = async (id: TaskId) => cluster.coordinator.waitFor(id, 5_000, new AbortController().signal);
const counts = async () => (await cluster.coordinator.cluster()).tasks;
const x = { label: ["batch", "x"] } as const;

describe("a bulk cancel", () => {
  it("cancels what the filter finds and no more, and a dry run cancels nothing", async () => {
    await submit(700, labelled("x"));
    await submit(3, labelled("y"));
    const order = { filter: x, act: { kind: "cancel" } } as const;
    expect(await cluster.coordinator.bulk({ ...order, dryRun: true })).toEqual({ matched: 700, changed: 0, refused: 0, refusals: [] });
    expect(await counts()).toMatchObject({ queued: 703 });
    expect(await cluster.coordinator.bulk(order)).toEqual({ matched: 700, changed: 700, refused: 0, refusals: [] });
    expect(await counts()).toMatchObject({ queued: 3, cancelled: 700 });
    expect(await cluster.coordinator.bulk(order)).toMatchObject({ matched: 0 });
  });

  it("N1: does a page in a turn, and a bounded number in a call", async () => {
    const count = LIMITS.bulkTasksMax + 1_100;
    await submit(count, labelled("x"));
    batches = [];
    const first = await cluster.coordinator.bulk({ filter: x, act: { kind: "cancel" } });
    expect(first).toMatchObject({ changed: LIMITS.bulkTasksMax, next: expect.any(Number) as number });
    for (const { changed = [] } of batches) expect(changed.length).toBeLessThanOrEqual(LIMITS.listMax);
    const rest = await cluster.coordinator.bulk({ filter: x, act: { kind: "cancel" }, before: first.next as number });
    expect(rest).toMatchObject({ changed: 1_100, refused: 0 });
    expect(rest).not.toHaveProperty("next");
    expect(await counts()).toMatchObject({ queued: 0, cancelled: count });
  });

  it("N1: others have their turn between its pages, also when nothing is changed", async () => {
    await submit(5_000, labelled("x"));
    let over = false;
    const dry = cluster.coordinator.bulk({ filter: x, act: { kind: "cancel" }, dryRun: true }).finally(() => (over = true));
    await new Promise(setImmediate);
    expect(over).toBe(false);
    expect(await dry).toMatchObject({ matched: 5_000 });
    over = false;
    const whole = cluster.coordinator.bulk({ filter: x, act: { kind: "cancel" } }).finally(() => (over = true));
    await submit(1, labelled("y"));
    expect(over).toBe(false);
    expect(await whole).toMatchObject({ changed: 5_000 });
  });

  it("reaches running tasks as well, and each ends cancelled once", async () => {
    await cluster.addWorker("studio");
    const ids = await submit(4, labelled("x", { input: { delayMs: 60_000 } } as Partial<TaskSpec>));
    await vi.waitFor(async () => expect(await counts()).toMatchObject({ running: 4 }));
    expect(await cluster.coordinator.bulk({ filter: x, act: { kind: "cancel" } })).toMatchObject({ changed: 4 });
    for (const id of ids) expect(await end(id)).toMatchObject({ state: "cancelled" });
  });

  it("N2: what has moved on between the look and the turn is refused, and said", async () => {
    const [moved, other] = (await submit(2, labelled("x"))) as [TaskId, TaskId];
    const order = { filter: { ...x, states: ["queued"] as const }, act: { kind: "cancel" } } as const;
    const [, report] = await Promise.all([cluster.coordinator.cancel(moved), cluster.coordinator.bulk(order)]);
    expect(report).toMatchObject({ changed: 1, refused: 1, refusals: [{ id: moved, code: "state_conflict" }] });
    // Back to life and away again, in the very turn: the store's record is older than both.
    const [, , again] = await Promise.all([
      cluster.coordinator.retry(other),
      cluster.coordinator.cancel(other),
      cluster.coordinator.bulk({ filter: { ...x, states: ["cancelled"] }, act: { kind: "retry" } }),
    ]);
    expect(again).toMatchObject({ changed: 2 });
    expect(await cluster.coordinator.task(other)).toMatchObject({ state: "queued", seq: 5 });
  });

  it("N2: what could be changed all the same, but is not what was asked for, is refused too", async () => {
    await cluster.addWorker("studio");
    const [id] = (await submit(1, labelled("x", { input: { fail: true }, retry: { max: 0 } } as Partial<TaskSpec>))) as [TaskId];
    await end(id);
    const [, , report] = await Promise.all([
      cluster.coordinator.retry(id),
      cluster.coordinator.cancel(id),
      cluster.coordinator.bulk({ filter: { ...x, states: ["failed"] }, act: { kind: "retry" } }),
    ]);
    expect(report).toMatchObject({ changed: 0, refused: 1, refusals: [{ id, code: "state_conflict" }] });
    expect((await cluster.coordinator.task(id)).state).toBe("cancelled");
  });

  it("N3: a page that cannot be committed ends the call, and says where to go on", async () => {
    await submit(1_200, labelled("x"));
    let pages = 0;
    beforeCommit = ({ changed = [] }) => {
      if (changed.some(({ state }) => state === "cancelled") && ++pages === 2) throw new ClusterError("storage_full", "no room");
    };
    const order = { filter: x, act: { kind: "cancel" } } as const;
    const first = await cluster.coordinator.bulk(order);
    expect(first).toMatchObject({ matched: 500, changed: 500, next: expect.any(Number) as number });
    expect(await counts()).toMatchObject({ queued: 700, cancelled: 500 });
    expect(await cluster.coordinator.bulk({ ...order, before: first.next as number })).toMatchObject({ changed: 700 });
  });

  it("refuses what cannot be done to any such task", async () => {
    const order = { filter: { states: ["succeeded"] as const }, act: { kind: "cancel" } } as const;
    await expect(cluster.coordinator.bulk(order)).rejects.toMatchObject({ code: "bad_request" });
  });
});

describe("dead letters", () => {
  const failing = labelled("x", { input: { fail: true }, retry: { max: 0 } } as Partial<TaskSpec>);

  it("are found, in groups and by list, and run again by group", async () => {
    await cluster.addWorker("studio");
    const ids = await submit(12, failing);
    for (const id of ids) expect(await end(id)).toMatchObject({ state: "failed", reason: "attempts_spent" });
    const [late] = (await submit(
      1,
      labelled("y", { timeouts: { queueMs: 1 }, require: { labels: { gpu: "yes" } } } as Partial<TaskSpec>),
    )) as [TaskId];
    expect(await end(late)).toMatchObject({ state: "failed", reason: "queue_timeout" });
    const { groups, tasks } = await cluster.coordinator.deadLetters({});
    expect(tasks).toBe(12);
    expect(groups).toMatchObject([{ code: "agent_failed", count: 12, what: "The echo was asked to fail.", nodes: ["studio"] }]);
    expect(groups[0]?.examples).toEqual(ids.toReversed().slice(0, 5));
    const alike = groups[0]?.alike as string;
    const list = async (filter: Parameters<typeof cluster.coordinator.list>[0]) =>
      (await cluster.coordinator.list(filter, { limit: 100 })).tasks;
    expect(await list({ dead: true })).toHaveLength(12);
    expect(await list({ alike })).toHaveLength(12);
    expect(await list({ alike: "agent_failed-00000000" })).toEqual([]);
    expect(await cluster.coordinator.bulk({ filter: { alike }, act: { kind: "retry" } })).toMatchObject({ changed: 12 });
    for (const id of ids) expect(await end(id)).toMatchObject({ state: "failed", attempt: 2 });
  });

  it("a list of a group is cut where the page is full, and goes on there", async () => {
    await cluster.addWorker("studio");
    const ids = await submit(5, failing);
    for (const id of ids) await end(id);
    const alike = (await cluster.coordinator.deadLetters({})).groups[0]?.alike as string;
    const seen: TaskId[] = [];
    let before: number | undefined;
    do {
      const page = await cluster.coordinator.list({ alike }, { limit: 2, ...(before !== undefined && { before }) });
      seen.push(...page.tasks.map(({ id }) => id));
      before = page.next;
    } while (before !== undefined);
    expect(seen).toEqual(ids.toReversed());
  });

  it("a poisonous task ends on its second node, with retries left, also when the coordinator restarts in between", async () => {
    await cluster.addWorker("studio");
    const [id] = (await submit(1, labelled("x", { input: { fail: true }, retry: { max: 9, backoffMs: 3_000 } } as Partial<TaskSpec>))) as [
      TaskId,
    ];
    await vi.waitFor(async () => expect(await cluster.coordinator.task(id)).toMatchObject({ state: "scheduled", attempt: 1 }), {
      timeout: 10_000,
    });
    await cluster.restartCoordinator();
    await cluster.addWorker("nas");
    const task = await vi.waitFor(
      async () => {
        const now = await cluster.coordinator.task(id);
        expect(TERMINAL.has(now.state)).toBe(true);
        return now;
      },
      { timeout: 10_000 },
    );
    expect(task).toMatchObject({ state: "failed", reason: "poison", attempt: 2, node: "nas" });
    expect((await cluster.coordinator.attempts(id)).map(({ node }) => node)).toEqual(["studio", "nas"]);
    expect((await cluster.coordinator.deadLetters({})).groups).toMatchObject([{ count: 1, nodes: ["nas"] }]);
  });
});
