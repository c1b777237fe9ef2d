/** A move that cannot be made, or is given up: it says why, and the store goes on as if nothing had been. */
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from "vitest";
import { ClusterError } from "@openclaw-cluster/contract/errors";
import { startTestEtcd, type TestEtcd } from "../../../tests/support/etcd.ts";
import type { MovableStore } from "./movable-store.ts";
import type { MoveTarget } from "./store-copy.ts";
import { ATTEMPT, AUDIT_ENTRY, KEY, NODE_ROW, queued, succeeded, TOKEN } from "./store.fixtures.ts";
import { Ground, interrupted, type Kind } from "./store-move.fixtures.ts";
import { StoreFenced, type Rows } from "./store.ts";

let etcd: TestEtcd;
beforeAll(async () => {
  etcd = await startTestEtcd();
});
afterAll(() => etcd.stop());

let ground: Ground;
afterEach(() => ground.end());

const ALL: Rows = {
  created: [queued(1), succeeded(queued(2), 5)],
  attempts: [{ task: 1, attempt: ATTEMPT }],
  keys: [KEY],
  nodes: [NODE_ROW],
  tokens: [TOKEN],
  audit: [AUDIT_ENTRY],
};
/** Each row another one than it is. */
const WRONG: readonly Rows[] = [
  { created: [queued(1), succeeded(queued(2), 6)] },
  { created: [queued(1)] },
  { attempts: [{ task: 1, attempt: { ...ATTEMPT, epoch: 9 } }] },
  { keys: [{ ...KEY, bodyHash: "other" }] },
  { nodes: [{ ...NODE_ROW, failed: 9 }] },
  { tokens: [] },
  { audit: [{ ...AUDIT_ENTRY, hash: "other" }] },
];

describe.each<Kind>(["sqlite", "etcd"])("a move from %s", (kind) => {
  let store: MovableStore;
  let epoch: number;
  let target: MoveTarget;
  beforeEach(async () => {
    ground = new Ground(etcd, kind);
    const begun = await ground.begin();
    store = begun.store;
    epoch = begun.model.epoch;
    target = await ground.target(begun.cluster);
  });

  /** It is the store as before, and can be moved. */
  async function expectToGoOn(live: number): Promise<void> {
    const claim = await store.claim();
    await expect(store.commit({ epoch })).rejects.toThrow(StoreFenced);
    await store.commit({ epoch: claim.epoch, created: [queued(100)] });
    expect((await store.load()).live).toHaveLength(live + 1);
    const move = ground.move(store, await ground.target(claim.cluster));
    await move.copy();
    await move.finish(ground.decide);
    await ground.die();
    const moved = await ground.open();
    expect((await moved.load()).live).toHaveLength(live + 1);
  }

  it.each(WRONG.map((wrong, at) => [at, wrong] as const))("notices what the copy has otherwise (%i)", async (_at, wrong) => {
    await store.commit({ epoch, ...ALL });
    const writing = (rows: Rows): Rows => ({
      ...rows,
      ...Object.fromEntries(Object.entries(wrong).filter(([name]) => rows[name as keyof Rows] !== undefined)),
    });
    const move = ground.move(store, { ...target, write: (rows) => target.write(writing(rows)) });
    await expect(move.copy()).rejects.toMatchObject({
      code: "internal",
      detail: expect.stringContaining("is not what the store is") as string,
    });
    await move.cancel();
    await expectToGoOn(1);
  });

  it("notices what was committed meanwhile and is there otherwise, or is too much", async () => {
    await store.commit({ epoch, created: [queued(1)] });
    const mistaken: readonly ((its: MoveTarget) => Partial<MoveTarget>)[] = [
      () => ({ readBack: async () => ({ changed: [queued(2, { seq: 9 })] }) }),
      (its) => ({ load: async () => ({ ...(await its.load()), live: [queued(1)] }) }),
      (its) => ({ load: async () => ({ ...(await its.load()), counts: { queued: 9 } }) }),
      (its) => ({ load: async () => ({ ...(await its.load()), lastKey: 9 }) }),
    ];
    for (const [at, mistake] of mistaken.entries()) {
      const { cluster, epoch: term } = await store.claim();
      const fresh = await ground.target(cluster);
      const move = ground.move(store, { ...fresh, ...mistake(fresh) });
      await move.copy();
      await store.commit({ epoch: term, created: [queued(2 + at)] });
      await expect(move.finish(ground.decide)).rejects.toMatchObject({ code: "internal" });
      await move.cancel();
    }
    await expectToGoOn(1 + mistaken.length);
  });

  it("is given up at any step, or fails in its target", async () => {
    await store.commit({ epoch, ...ALL });
    for (const end of ["write", "view", "readBack", "load", "finish"] as const) {
      const claim = await store.claim();
      target = await ground.target(claim.cluster);
      const fault = new ClusterError("storage_full", "the test's disk is full");
      const failing = interrupted(target, async (what) => {
        if (what === end) throw fault;
      });
      const move = ground.move(store, failing);
      const made = (async () => {
        await move.copy();
        await store.commit({ epoch: claim.epoch, changed: [queued(1, { seq: claim.epoch })] });
        await move.finish(ground.decide);
      })();
      await expect(made).rejects.toBe(fault);
      await move.cancel();
    }
    const { cluster } = await store.claim();
    const cancelled = ground.move(store, await ground.target(cluster));
    await cancelled.copy();
    await cancelled.cancel();
    await expect(cancelled.finish(ground.decide)).rejects.toMatchObject({ code: "unavailable" });
    await cancelled.cancel();
    await expectToGoOn(1);
  });

  it("is the only one, and prunes nothing", async () => {
    await store.commit({ epoch, ...ALL });
    const move = ground.move(store, target);
    await move.copy();
    const second = ground.move(store, { ...target, discard: async () => undefined });
    await expect(second.copy()).rejects.toMatchObject({ code: "state_conflict" });
    await second.cancel();
    await expect(second.copy()).rejects.toMatchObject({ code: "state_conflict" });
    expect(await store.prune({ endedBefore: 100, limit: 10 })).toMatchObject({ tasks: 0 });
    await move.cancel();
    expect(await store.prune({ endedBefore: 100, limit: 10 })).toMatchObject({ tasks: 1 });
    await expectToGoOn(1);
  });

  it("lets others have their turn between two pieces", async () => {
    const COUNT = 2_000;
    await store.commit({ epoch, created: Array.from({ length: COUNT }, (_, at) => queued(at + 1)) });
    const turns = { copying: 0, comparing: 0, following: 0, ready: 0, switching: 0, over: 0 };
    const move = ground.move(
      store,
      interrupted(target, async (what) => {
        if (what === "view") await store.commit({ epoch, changed: Array.from({ length: COUNT }, (_, at) => queued(at + 1, { seq: 9 })) });
      }),
    );
    let isOver = false;
    const turn = (): void => {
      turns[move.view().phase] += 1;
      if (!isOver) setImmediate(turn);
    };
    setImmediate(turn);
    await move.copy();
    isOver = true;
    for (const phase of ["copying", "comparing", "following"] as const) expect(turns[phase]).toBeGreaterThan(5);
    await move.cancel();
  });

  it("is given up when too much is committed while it copies", async () => {
    await store.commit({ epoch, ...ALL });
    let key = 10;
    const move = ground.move(
      store,
      interrupted(target, async (what) => {
        if (what === "write") await store.commit({ epoch, created: [queued((key += 1))] });
      }),
      { behindBytesMax: 300 },
    );
    await expect(move.copy()).rejects.toMatchObject({ code: "overloaded" });
    await move.cancel();
    await expectToGoOn(1 + key - 10);
  });

  it("lets commits wait when it has copied and they come faster than they are written", async () => {
    await store.commit({ epoch, ...ALL });
    const order: string[] = [];
    const later: Promise<void>[] = [];
    let key = 10;
    const created = (count: number): Rows => ({ created: Array.from({ length: count }, () => queued((key += 1))) });
    const move = ground.move(
      store,
      interrupted(target, async (what) => {
        if (what === "view") await store.commit({ epoch, ...created(200) });
        if (what !== "readBack" || later.length > 0) return;
        await store.commit({ epoch, ...created(50) });
        later.push(store.commit({ epoch, ...created(1) }).then(() => void order.push("committed")));
        // It would have been written by now.
        await store.attempts(1);
        expect((await store.load()).lastKey).toBe(key - 1);
        order.push("asked");
      }),
      { pacedBytesMax: 1_000 },
    );
    await move.copy();
    order.push("copied");
    await Promise.all(later);
    expect(order[0]).toBe("asked");
    expect(order).toHaveLength(3);
    await move.finish(ground.decide);
    await ground.die();
    expect((await (await ground.open()).load()).live).toHaveLength(1 + 251);
  });
});
