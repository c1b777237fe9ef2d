/** A store that is moved while it works, from where to where, killed at any step, and moved again. */
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import fc from "fast-check";
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from "vitest";
import { startTestEtcd, type TestEtcd } from "../../../tests/support/etcd.ts";
import type { ClusterId } from "@openclaw-cluster/contract/ids";
import { systemClock } from "../system/clock.ts";
import { silentLog } from "../system/log.ts";
import { Died, dying, expectTidy } from "./etcd.fixtures.ts";
import { openEtcdTarget } from "./etcd-target.ts";
import { openEtcdStore } from "./etcd.ts";
import type { EtcdClient } from "./etcd-client.ts";
import { MovableStore } from "./movable-store.ts";
import { openSqliteTarget } from "./sqlite-target.ts";
import { openSqliteStore } from "./sqlite.ts";
import type { MoveSource, MoveTarget } from "./store-copy.ts";
import { steps, type Step } from "./store.histories.ts";
import { StoreMove } from "./store-move.ts";
import { compare, Model, play } from "./store.model.ts";
import { StoreFenced, type Store } from "./store.ts";
import { finishMoveIntoEtcd } from "./unfinished-move.ts";

type Kind = "sqlite" | "etcd";

let etcd: TestEtcd;
let folder: string;
beforeAll(async () => {
  etcd = await startTestEtcd();
});
afterAll(() => etcd.stop());
beforeEach(() => (folder = mkdtempSync(join(tmpdir(), "move-"))));

const opened: { close(): Promise<void> }[] = [];
afterEach(async () => {
  await closeAll();
  rmSync(folder, { recursive: true });
});

/** As the end of a process: what it has open is gone. */
async function closeAll(): Promise<void> {
  for (const one of opened.splice(0).reverse()) await one.close().catch(() => undefined);
}

function kept<T extends { close(): Promise<void> }>(one: T): T {
  opened.push(one);
  return one;
}

/** One machine: its database's place, its etcd, and what its settings say. */
class Ground {
  kind: Kind;
  readonly path: string;
  readonly prefix = etcd.prefix();
  private homes = 0;

  constructor(kind: Kind) {
    this.kind = kind;
    this.path = join(mkdtempSync(join(folder, `${(this.homes += 1)}-`)), "cluster.db");
  }

  /** As a start does it. */
  async open(client: EtcdClient = etcd.client): Promise<MoveSource> {
    const { path, prefix } = this;
    if (this.kind === "sqlite") return kept(await openSqliteStore({ path }));
    await finishMoveIntoEtcd({ client, prefix, path, by: "studio", clock: systemClock, log: silentLog });
    return kept(await openEtcdStore({ client, prefix }));
  }

  async target(cluster: ClusterId, client: EtcdClient = etcd.client): Promise<MoveTarget> {
    const { path, prefix } = this;
    if (this.kind === "sqlite") return kept(await openEtcdTarget({ client, prefix, cluster }));
    return kept(await openSqliteTarget(path, silentLog));
  }

  move(source: MovableStore, target: MoveTarget): StoreMove {
    const to = this.kind === "sqlite" ? "etcd" : "sqlite";
    return new StoreMove({ source, target, note: { to, by: "studio", at: 1_000 }, clock: systemClock, log: silentLog });
  }

  decide = async (): Promise<void> => {
    this.kind = this.kind === "sqlite" ? "etcd" : "sqlite";
  };
}

/** `before` is done ahead of everything that is asked of the target. */
function interrupted(target: MoveTarget, before: (what: keyof MoveTarget) => Promise<void>): MoveTarget {
  return new Proxy(target, {
    get: (its, name: keyof MoveTarget) => {
      const work = its[name] as (...all: unknown[]) => Promise<unknown>;
      return async (...all: unknown[]) => {
        await before(name);
        return work.apply(its, all);
      };
    },
  });
}

/** On a store that is moved: nothing is pruned. */
async function playMoved(model: Model, store: Store, step: Step): Promise<void> {
  if (step.kind === "prune") expect(await store.prune({ ...step, limit: 1_000 })).toBe(0);
  else await play(model, store, step, async () => store);
}

async function begin(ground: Ground, history: readonly Step[]): Promise<{ model: Model; store: MovableStore; cluster: ClusterId }> {
  const model = new Model();
  const store = new MovableStore(await ground.open());
  const { cluster, epoch } = await store.claim();
  model.epoch = epoch;
  for (const step of history) await play(model, store, step, async () => store);
  return { model, store, cluster };
}

const kinds = fc.constantFrom<Kind>("sqlite", "etcd");

describe("a move", () => {
  it("there and back gives what the store was, with all that came meanwhile", { timeout: 180_000 }, async () => {
    await fc.assert(
      fc.asyncProperty(kinds, steps, steps, steps, async (kind, earlier, meanwhile, later) => {
        const ground = new Ground(kind);
        const { model, store, cluster } = await begin(ground, earlier);
        let present = store;
        for (const history of [meanwhile, later]) {
          const left = [...history];
          const before = async (what: keyof MoveTarget): Promise<void> => {
            const step = ["write", "view", "readBack"].includes(what) && move.view().phase !== "switching" ? left.shift() : undefined;
            if (step !== undefined) await playMoved(model, present, step);
          };
          const move = ground.move(present, interrupted(await ground.target(cluster), before));
          await move.copy();
          for (const step of left) await playMoved(model, present, step);
          const { epoch } = model;
          await move.finish(ground.decide);
          await expect(present.commit({ epoch })).rejects.toThrow(StoreFenced);
          await closeAll();
          present = new MovableStore(await ground.open());
          await compare(model, present, {});
          if (ground.kind === "etcd") await expectTidy(etcd.client, ground.prefix, model);
          const claim = await present.claim();
          expect(claim).toStrictEqual({ cluster, epoch: expect.any(Number) });
          expect(claim.epoch).toBeGreaterThan(epoch);
          model.epoch = claim.epoch;
          await compare(model, present, {});
        }
        await closeAll();
      }),
      { numRuns: 15 },
    );
  });

  it("that dies at any step has lost nothing, and is made anew", { timeout: 180_000 }, async () => {
    const deaths = { decided: 0, undecided: 0, none: 0 };
    const ends = fc.record({ target: fc.nat(14), client: fc.nat(60), decide: fc.constantFrom("no", "before", "after") });
    await fc.assert(
      fc.asyncProperty(kinds, steps, steps, ends, fc.boolean(), async (kind, earlier, meanwhile, end, isAfter) => {
        const ground = new Ground(kind);
        const { model, store, cluster } = await begin(ground, earlier);
        const left = [...meanwhile];
        let calls = 0;
        const before = async (what: keyof MoveTarget): Promise<void> => {
          if ((calls += 1) > end.target) throw new Died();
          const step = what === "write" && move?.view().phase !== "switching" ? left.shift() : undefined;
          if (step !== undefined) await playMoved(model, store, step);
        };
        const client = kind === "sqlite" ? dying(etcd.client, end.client + 1, isAfter ? "after" : "before") : etcd.client;
        let move: StoreMove | undefined;
        const decide = async (): Promise<void> => {
          if (end.decide === "before") throw new Died();
          await ground.decide();
          if (end.decide === "after") throw new Died();
        };
        const died = await (async () => {
          move = ground.move(store, interrupted(await ground.target(cluster, client), before));
          await move.copy();
          for (const step of left.splice(0)) await playMoved(model, store, step);
          await move.finish(decide);
        })().then(
          () => undefined,
          (error: unknown) => error,
        );
        if (died !== undefined) expect(died).toBeInstanceOf(Died);
        const isDecided = ground.kind !== kind;
        deaths[died === undefined ? "none" : isDecided ? "decided" : "undecided"] += 1;
        await closeAll();

        const { epoch } = model;
        let present = new MovableStore(await ground.open());
        await compare(model, present, {});
        model.epoch = (await present.claim()).epoch;
        expect(model.epoch).toBeGreaterThan(epoch);
        await playMoved(model, present, { kind: "stale" });
        for (const step of meanwhile.slice(0, 2)) await play(model, present, step, async () => present);
        const again = ground.move(present, await ground.target(cluster));
        await again.copy();
        await again.finish(ground.decide);
        await closeAll();
        present = new MovableStore(await ground.open());
        await compare(model, present, {});
        expect((await present.claim()).epoch).toBeGreaterThan(model.epoch);
        await closeAll();
      }),
      { numRuns: 60 },
    );
    expect(deaths.decided).toBeGreaterThan(3);
    expect(deaths.undecided).toBeGreaterThan(10);
  });
});
