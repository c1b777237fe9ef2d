/**
 * The door's contract (S1–S5 of store.ts) as one suite, run by every store. A store that outlives its process also says
 * how to open it anew.
 */
import fc from "fast-check";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import type { NodeId } from "@openclaw-cluster/contract/ids";
import type { TaskRecord } from "../core/task.ts";
import { ATTEMPT, AUDIT_ENTRY, FULL, KEY, NODE, NODE_ROW, TOKEN, queued, succeeded } from "./store.fixtures.ts";
import { filters, steps } from "./store.histories.ts";
import { Model, compare, play, walk } from "./store.model.ts";
import { StoreFenced, type Store } from "./store.ts";

export interface Opened {
  readonly store: Store;
  /** Closes the store and opens what it kept. A store whose memory is all there is gives itself. */
  readonly reopen: () => Promise<Store>;
  /** Closes what is open and removes what was kept. */
  readonly end: () => Promise<void>;
}

export function describeStore(name: string, open: () => Promise<Opened>): void {
  describe(`${name} keeps the store's contract`, () => {
    let opened: Opened;
    let store: Store;
    let epoch: number;
    const now = (): { store: Store; epoch: number; opened: Opened } => ({ store, epoch, opened });

    beforeEach(async () => {
      opened = await open();
      store = opened.store;
      epoch = (await store.claim()).epoch;
    });
    afterEach(() => opened.end());

    claims(now);
    commits(now);
    rows(now);
    lists(now);
    prunes(now);

    it("agrees with the model over any history", { timeout: 120_000 }, async () => {
      await fc.assert(
        fc.asyncProperty(steps, fc.array(filters, { minLength: 3, maxLength: 3 }), async (history, wanted) => {
          const run = await open();
          try {
            const model = new Model();
            model.epoch = (await run.store.claim()).epoch;
            let present = run.store;
            for (const [index, step] of history.entries()) {
              present = await play(model, present, step, run.reopen);
              await compare(model, present, wanted[index % wanted.length] ?? {});
            }
          } finally {
            await run.end();
          }
        }),
        { numRuns: 30 },
      );
    });
  });
}

type Now = () => { store: Store; epoch: number; opened: Opened };

function claims(now: Now): void {
  it("mints the cluster's id once and raises the epoch with each claim, also when opened anew", async () => {
    const { store, epoch, opened } = now();
    const second = await store.claim();
    expect(second.cluster).toMatch(/^[a-z0-9]{8}$/);
    expect(second.epoch).toBeGreaterThan(epoch);
    const third = await (await opened.reopen()).claim();
    expect(third.cluster).toBe(second.cluster);
    expect(third.epoch).toBeGreaterThan(second.epoch);
  });

  it("S2: refuses a commit under an older epoch, or one that was never claimed, and changes nothing", async () => {
    const { store, epoch } = now();
    await store.commit({ epoch, created: [queued(1)] });
    const next = await store.claim();
    for (const wrong of [epoch, next.epoch + 1]) {
      const late = store.commit({ epoch: wrong, created: [queued(2)], changed: [succeeded(queued(1), 5)], keys: [KEY] });
      await expect(late).rejects.toThrow(StoreFenced);
    }
    expect(await store.load()).toMatchObject({ live: [queued(1)], counts: { queued: 1 }, lastKey: 1 });
    expect(await store.submitKey(KEY.owner, KEY.key)).toBeUndefined();
    await store.commit({ epoch: next.epoch, created: [queued(2)] });
  });
}

function commits(now: Now): void {
  it("S1: a batch that breaks a rule changes nothing, and the store goes on", async () => {
    const { store, epoch } = now();
    await store.commit({ epoch, created: [queued(1)] });
    const before = await store.load();
    const good = { created: [queued(2)], keys: [KEY], nodes: [NODE_ROW], tokens: [TOKEN] };
    const bad = [
      { ...good, changed: [queued(99)] },
      { ...good, created: [queued(2), queued(1)] },
      { ...good, created: [queued(2), queued(2)] },
      { ...good, attempts: [{ task: 99, attempt: ATTEMPT }] },
      { ...good, changed: [succeeded(queued(1), 9), queued(99)] },
    ];
    for (const batch of bad) await expect(store.commit({ epoch, ...batch })).rejects.toThrow();
    expect(await store.load()).toStrictEqual(before);
    expect(await store.submitKey(KEY.owner, KEY.key)).toBeUndefined();
    await store.commit({ epoch, ...good });
    expect((await store.load()).live).toStrictEqual([queued(1), queued(2)]);
  });

  it("S3: shows what was committed, also when opened anew", async () => {
    const { store, epoch, opened } = now();
    await store.commit({
      epoch,
      created: [FULL, queued(2)],
      attempts: [{ task: 1, attempt: ATTEMPT }],
      keys: [KEY],
      nodes: [NODE_ROW],
      tokens: [TOKEN],
      audit: [AUDIT_ENTRY],
    });
    await store.commit({ epoch, changed: [succeeded(queued(2), 3_000)] });
    for (const present of [() => store, opened.reopen]) {
      const shown = await present();
      expect(await shown.load()).toStrictEqual({
        live: [FULL],
        nodes: [NODE_ROW],
        tokens: [TOKEN],
        auditHead: { seq: 1, hash: AUDIT_ENTRY.hash },
        counts: { running: 1, succeeded: 1 },
        lastKey: 2,
      });
      expect(await shown.task(1)).toStrictEqual(FULL);
      expect(await shown.task(2)).toStrictEqual(succeeded(queued(2), 3_000));
      expect(await shown.attempts(1)).toStrictEqual([ATTEMPT]);
    }
  });

  it("S4: never takes a key twice, not even one that was pruned", async () => {
    const { store, epoch, opened } = now();
    await store.commit({ epoch, created: [queued(1), succeeded(queued(5), 10)] });
    expect(await store.prune({ endedBefore: 11, limit: 10 })).toMatchObject({ tasks: 1 });
    await expect(store.commit({ epoch, created: [queued(5)] })).rejects.toThrow();
    const again = await opened.reopen();
    expect((await again.load()).lastKey).toBe(5);
    const claim = await again.claim();
    await expect(again.commit({ epoch: claim.epoch, created: [queued(5)] })).rejects.toThrow();
    await again.commit({ epoch: claim.epoch, created: [queued(6)] });
  });

  it("tells a result of null from none", async () => {
    const { store, epoch } = now();
    const { result: _none, ...without } = succeeded(queued(1), 5);
    await store.commit({ epoch, created: [without, { ...succeeded(queued(2), 5), result: null }] });
    expect(await store.task(1)).not.toHaveProperty("result");
    expect(await store.task(2)).toHaveProperty("result", null);
  });

  it("keeps the outcome of a task's last life only, when it is run again by hand", async () => {
    const { store, epoch } = now();
    const failed = queued(1, {
      state: "failed",
      reason: "attempts_spent",
      seq: 4,
      endedAt: 5,
      error: { code: "agent_failed", message: "first" },
    });
    await store.commit({ epoch, created: [failed] });
    const again = queued(1, { reason: "retried_by_hand", seq: 5 });
    await store.commit({ epoch, changed: [again] });
    expect(await store.task(1)).toStrictEqual(again);
    expect(await store.prune({ endedBefore: 100, limit: 10 })).toMatchObject({ tasks: 0 });
    await store.commit({ epoch, changed: [succeeded(again, 9)] });
    expect(await store.task(1)).toStrictEqual(succeeded(again, 9));
    expect((await store.load()).counts).toStrictEqual({ succeeded: 1 });
  });

  it("writes a placement that changes while the rest stays", async () => {
    const { store, epoch } = now();
    const other = { ...FULL, placement: { ...FULL.placement!, at: 2_500 } };
    await store.commit({ epoch, created: [FULL] });
    for (const task of [other, FULL, { ...FULL, seq: 9 }, other]) {
      await store.commit({ epoch, changed: [task] });
      expect(await store.task(1)).toStrictEqual(task);
    }
    await expect(store.commit({ epoch, changed: [FULL, queued(99)] })).rejects.toThrow();
    await store.commit({ epoch, changed: [FULL] });
    expect(await store.task(1)).toStrictEqual(FULL);
  });
}

function rows(now: Now): void {
  it("gives the attempts of one task in order, and none for an unknown task", async () => {
    const { store, epoch } = now();
    await store.commit({ epoch, created: [queued(1), queued(2)], attempts: [{ task: 1, attempt: ATTEMPT }] });
    await store.commit({
      epoch,
      attempts: [
        { task: 2, attempt: ATTEMPT },
        { task: 1, attempt: { ...ATTEMPT, n: 2 } },
        { task: 1, attempt: { ...ATTEMPT, n: 10 } },
      ],
    });
    expect((await store.attempts(1)).map(({ n }) => n)).toStrictEqual([1, 2, 10]);
    expect(await store.attempts(77)).toStrictEqual([]);
    await expect(store.commit({ epoch, attempts: [{ task: 1, attempt: ATTEMPT }] })).rejects.toThrow();
  });

  it("finds a submit key by owner and key, and replaces one that is used again", async () => {
    const { store, epoch } = now();
    await store.commit({ epoch, created: [queued(1)], keys: [KEY, { ...KEY, owner: "plugin", runs: [[1, 1]] }] });
    expect(await store.submitKey("cli", "k1")).toStrictEqual(KEY);
    expect(await store.submitKey("plugin", "k1")).toMatchObject({ runs: [[1, 1]] });
    expect(await store.submitKey("cli", "k2")).toBeUndefined();
    await store.commit({ epoch, keys: [{ ...KEY, bodyHash: "h2" }] });
    expect(await store.submitKey("cli", "k1")).toMatchObject({ bodyHash: "h2" });
  });

  it("replaces nodes and tokens whole, and removes tokens", async () => {
    const { store, epoch } = now();
    await store.commit({ epoch, nodes: [NODE_ROW], tokens: [TOKEN, { ...TOKEN, id: "t2" }] });
    const { slots: _gone, ...other } = { ...NODE_ROW, draining: true };
    await store.commit({ epoch, nodes: [other], tokensRemoved: ["t1", "never"] });
    expect(await store.load()).toMatchObject({ nodes: [other], tokens: [{ id: "t2" }] });
    expect((await store.load()).nodes[0]).not.toHaveProperty("slots");
  });

  it("removes nodes, also when opened anew; an id that is removed and written in one batch is a new node", async () => {
    const { store, epoch, opened } = now();
    const nas = { ...NODE_ROW, id: "nas" as NodeId };
    await store.commit({ epoch, nodes: [NODE_ROW, nas] });
    const anew = { ...nas, publicKey: "U2" };
    await store.commit({ epoch, nodesRemoved: [NODE, nas.id, "never" as NodeId], nodes: [anew] });
    expect((await store.load()).nodes).toStrictEqual([anew]);
    expect((await (await opened.reopen()).load()).nodes).toStrictEqual([anew]);
  });

  it("knows nothing of a task that is not there", async () => {
    expect(await now().store.task(12)).toBeUndefined();
    expect(await now().store.load()).toStrictEqual({
      live: [],
      nodes: [],
      tokens: [],
      auditHead: { seq: 0, hash: "" },
      counts: {},
      lastKey: 0,
    });
  });
}

function lists(now: Now): void {
  const keysOf = (tasks: readonly TaskRecord[]): number[] => tasks.map(({ key }) => key);

  it("lists newest first, page by page, with every task once", async () => {
    const { store, epoch } = now();
    await store.commit({ epoch, created: [1, 2, 3, 7, 8, 9, 12].map((key) => queued(key)) });
    const first = await store.list({}, { limit: 3 });
    expect(keysOf(first.tasks)).toStrictEqual([12, 9, 8]);
    expect(first.next).toBeDefined();
    expect(keysOf(await walk(store, {}, 3))).toStrictEqual([12, 9, 8, 7, 3, 2, 1]);
    expect(await store.list({}, { before: 3, limit: 10 })).toStrictEqual({ tasks: [queued(2), queued(1)] });
  });

  it("lists what fits every part of the filter", async () => {
    const { store, epoch } = now();
    const placement = { ...FULL.placement!, node: NODE };
    await store.commit({
      epoch,
      created: [
        FULL,
        queued(2, { spec: { kind: "echo", input: {}, name: "nightly", labels: { gpu: "no", 'a "b"': "yes" } } }),
        queued(3, { placement }),
        queued(4, { placement, state: "failed", reason: "attempts_spent", endedAt: 5 }),
        queued(5, { placement, state: "waiting", reason: "asked" }),
      ],
    });
    const find = async (filter: Parameters<Store["list"]>[0]): Promise<number[]> => keysOf(await walk(store, filter, 1));
    expect(await find({ states: ["running", "failed"] })).toStrictEqual([4, 1]);
    expect(await find({ states: ["running", "waiting"] })).toStrictEqual([5, 1]);
    expect(await find({ states: [] })).toStrictEqual([]);
    expect(await find({ kind: "echo" })).toStrictEqual([5, 4, 3, 2]);
    expect(await find({ name: "nightly" })).toStrictEqual([2, 1]);
    expect(await find({ name: "nightly", kind: "echo" })).toStrictEqual([2]);
    expect(await find({ user: "ada" })).toStrictEqual([1]);
    expect(await find({ label: ["gpu", "yes"] })).toStrictEqual([1]);
    expect(await find({ label: ['a "b"', "yes"] })).toStrictEqual([2]);
    expect(await find({ dead: true })).toStrictEqual([4]);
    expect(await find({ dead: true, states: ["cancelled"] })).toStrictEqual([]);
    // A queued task is nowhere, whatever an earlier placement says.
    expect(await find({ node: NODE })).toStrictEqual([5, 4, 1]);
  });
}

function prunes(now: Now): void {
  it("prunes only tasks that are over and ended before, with all that hangs on them, a few at a time", async () => {
    const { store, epoch } = now();
    const created = [
      succeeded(queued(1), 10),
      succeeded(queued(2), 20),
      queued(3, { endedAt: 5 }),
      succeeded(queued(4), 10),
      succeeded(queued(5), 30),
    ];
    await store.commit({
      epoch,
      created,
      attempts: [
        { task: 1, attempt: ATTEMPT },
        { task: 2, attempt: ATTEMPT },
      ],
    });
    expect(await store.prune({ endedBefore: 20, limit: 1 })).toMatchObject({ tasks: 1 });
    expect(await store.prune({ endedBefore: 20, limit: 10 })).toMatchObject({ tasks: 1 });
    expect(await store.prune({ endedBefore: 20, limit: 10 })).toMatchObject({ tasks: 0 });
    expect((await walk(store, {}, 10)).map(({ key }) => key)).toStrictEqual([5, 3, 2]);
    expect(await store.task(1)).toBeUndefined();
    expect(await store.attempts(1)).toStrictEqual([]);
    expect(await store.attempts(2)).toStrictEqual([ATTEMPT]);
    expect((await store.load()).counts).toStrictEqual({ queued: 1, succeeded: 2 });
  });

  it("prunes what ended first beyond the number to keep, whatever its key, and counts right", async () => {
    const { store, epoch, opened } = now();
    const ends = [50, 10, 40, 20, 30, 20];
    await store.commit({
      epoch,
      created: [...ends.map((at, n) => succeeded(queued(n + 1), at)), queued(7), queued(8, { state: "cancelled" })],
    });
    const left = async (): Promise<number[]> => (await walk(store, {}, 10)).map(({ key }) => key);
    expect(await store.prune({ endedBefore: 0, keep: 7, limit: 10 })).toMatchObject({ tasks: 0 });
    // Of two that ended at once the older one goes.
    expect(await store.prune({ endedBefore: 0, keep: 5, limit: 10 })).toMatchObject({ tasks: 2 });
    expect(await left()).toStrictEqual([8, 7, 6, 5, 3, 1]);
    // Whatever of both goes further, and no more than the limit; a task without an end stays, and counts.
    expect(await store.prune({ endedBefore: 35, keep: 4, limit: 1 })).toMatchObject({ tasks: 1 });
    expect(await store.prune({ endedBefore: 35, keep: 4, limit: 10 })).toMatchObject({ tasks: 1 });
    expect(await left()).toStrictEqual([8, 7, 3, 1]);
    expect(await store.prune({ endedBefore: 0, keep: 0, limit: 10 })).toMatchObject({ tasks: 2 });
    expect(await left()).toStrictEqual([8, 7]);
    expect((await (await opened.reopen()).load()).counts).toStrictEqual({ queued: 1, cancelled: 1 });
  });

  it("prunes a task that was run again by its last end only", async () => {
    const { store, epoch } = now();
    const failed = queued(1, { state: "failed", reason: "attempts_spent", endedAt: 5 });
    await store.commit({ epoch, created: [failed, succeeded(queued(2), 7)] });
    await store.commit({ epoch, changed: [queued(1, { reason: "retried_by_hand", endedAt: 5 })] });
    expect(await store.prune({ endedBefore: 6, keep: 1, limit: 10 })).toMatchObject({ tasks: 0 });
    await store.commit({ epoch, changed: [succeeded(queued(1), 9)] });
    expect(await store.prune({ endedBefore: 6, limit: 10 })).toMatchObject({ tasks: 0 });
    expect(await store.prune({ endedBefore: 6, keep: 1, limit: 10 })).toMatchObject({ tasks: 1 });
    expect((await store.load()).counts).toStrictEqual({ succeeded: 1 });
    expect(await store.task(2)).toBeUndefined();
  });

  it("prunes submit keys by an age of their own, and says whether there are more", async () => {
    const { store, epoch } = now();
    const keys = [5, 6, 7, 8].map((at) => ({ ...KEY, key: `at ${at}`, at }));
    await store.commit({ epoch, created: [succeeded(queued(1), 5)], keys });
    expect(await store.prune({ endedBefore: 5, submitsBefore: 8, limit: 2 })).toStrictEqual({ tasks: 0, more: true });
    expect(await store.prune({ endedBefore: 5, submitsBefore: 8, limit: 2 })).toStrictEqual({ tasks: 0, more: false });
    expect(await store.prune({ endedBefore: 6, submitsBefore: 0, limit: 2 })).toStrictEqual({ tasks: 1, more: false });
    const left = await Promise.all(keys.map(({ key }) => store.submitKey("cli", key)));
    expect(left.map((one) => one?.at)).toStrictEqual([undefined, undefined, undefined, 8]);
  });

  it("prunes submit keys that are older", async () => {
    const { store, epoch } = now();
    await store.commit({
      epoch,
      keys: [
        { ...KEY, key: "old", at: 9 },
        { ...KEY, key: "new", at: 10 },
      ],
    });
    await store.prune({ endedBefore: 10, limit: 10 });
    expect(await store.submitKey("cli", "old")).toBeUndefined();
    expect(await store.submitKey("cli", "new")).toBeDefined();
  });
}
