/** A store that is moved while it works, from where to where, killed at any step, and moved again. */
import fc from "fast-check";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { startTestEtcd, type TestEtcd } from "../../../tests/support/etcd.ts";
import { Died, dying, expectTidy } from "./etcd.fixtures.ts";
import { MovableStore } from "./movable-store.ts";
import type { MoveTarget } from "./store-copy.ts";
import { steps } from "./store.histories.ts";
import { Ground, interrupted, playMoved, type Kind } from "./store-move.fixtures.ts";
import type { StoreMove } from "./store-move.ts";
import { compare, play } from "./store.model.ts";
import { StoreFenced } from "./store.ts";

let etcd: TestEtcd;
beforeAll(async () => {
  etcd = await startTestEtcd();
});
afterAll(() => etcd.stop());

const kinds = fc.constantFrom<Kind>("sqlite", "etcd");

describe("a move", () => {
  it("there and back gives what the store was, with all that came meanwhile", { timeout: 180_000 }, async () => {
    await fc.assert(
      fc.asyncProperty(kinds, steps, steps, steps, async (kind, earlier, meanwhile, later) => {
        const ground = new Ground(etcd, kind);
        const { model, store, cluster } = await ground.begin(earlier);
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
          await ground.die();
          present = new MovableStore(await ground.open());
          await compare(model, present, {});
          if (ground.kind === "etcd") await expectTidy(etcd.client, ground.prefix, model);
          const claim = await present.claim();
          expect(claim).toStrictEqual({ cluster, epoch: expect.any(Number) });
          expect(claim.epoch).toBeGreaterThan(epoch);
          model.epoch = claim.epoch;
          await compare(model, present, {});
        }
        await ground.end();
      }),
      { numRuns: 15 },
    );
  });

  it("that dies at any step has lost nothing, and is made anew", { timeout: 180_000 }, async () => {
    const deaths = { decided: 0, undecided: 0, none: 0 };
    const anywhere = fc.record({ target: fc.nat(14), client: fc.nat(60), decide: fc.constantFrom("no", "before", "after") });
    // Few of those come so far.
    const late = fc.constant({ target: Infinity, client: Infinity, decide: "after" });
    const ends = fc.oneof({ weight: 2, arbitrary: anywhere }, { weight: 1, arbitrary: late });
    await fc.assert(
      fc.asyncProperty(kinds, steps, steps, ends, fc.boolean(), async (kind, earlier, meanwhile, end, isAfter) => {
        const ground = new Ground(etcd, kind);
        const { model, store, cluster } = await ground.begin(earlier);
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
        await ground.die();

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
        await ground.die();
        present = new MovableStore(await ground.open());
        await compare(model, present, {});
        expect((await present.claim()).epoch).toBeGreaterThan(model.epoch);
        await ground.end();
      }),
      { numRuns: 60 },
    );
    expect(deaths.decided).toBeGreaterThan(3);
    expect(deaths.undecided).toBeGreaterThan(10);
  });
});
