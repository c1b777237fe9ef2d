/** For tests of moves: one machine with its database's place, its etcd, and what its settings say; and targets that are interfered with. */
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { ClusterId } from "@openclaw-cluster/contract/ids";
import { expect } from "vitest";
import { systemClock } from "../system/clock.ts";
import { silentLog } from "../system/log.ts";
import type { EtcdClient } from "./etcd-client.ts";
import { openEtcdTarget } from "./etcd-target.ts";
import { openEtcdStore } from "./etcd.ts";
import { MovableStore } from "./movable-store.ts";
import { openSqliteTarget } from "./sqlite-target.ts";
import { openSqliteStore } from "./sqlite.ts";
import type { MoveSource, MoveTarget } from "./store-copy.ts";
import type { Step } from "./store.histories.ts";
import { StoreMove, type MoveParts } from "./store-move.ts";
import { Model, play } from "./store.model.ts";
import type { Store } from "./store.ts";
import { finishMoveIntoEtcd } from "./unfinished-move.ts";

export type Kind = "sqlite" | "etcd";

/** A real one. */
interface OwnEtcd {
  readonly client: EtcdClient;
  /** A new one each time. */
  prefix(): string;
}

export class Ground {
  kind: Kind;
  readonly path: string;
  readonly prefix: string;
  private readonly folder = mkdtempSync(join(tmpdir(), "move-"));
  private readonly etcd: OwnEtcd;
  private readonly opened: { close(): Promise<void> }[] = [];

  constructor(etcd: OwnEtcd, kind: Kind) {
    [this.etcd, this.kind, this.prefix, this.path] = [etcd, kind, etcd.prefix(), join(this.folder, "cluster.db")];
  }

  /** As a start does it. */
  async open({ client = this.etcd.client, by = "studio" }: { client?: EtcdClient; by?: string } = {}): Promise<MoveSource> {
    const { path, prefix } = this;
    if (this.kind === "sqlite") return this.kept(await openSqliteStore({ path }));
    await finishMoveIntoEtcd({ client, prefix, path, by, clock: systemClock, log: silentLog });
    return this.kept(await openEtcdStore({ client, prefix }));
  }

  async target(cluster: ClusterId, client: EtcdClient = this.etcd.client): Promise<MoveTarget> {
    const { path, prefix } = this;
    return this.kept(this.kind === "sqlite" ? await openEtcdTarget({ client, prefix, cluster }) : await openSqliteTarget(path, silentLog));
  }

  move(source: MovableStore, target: MoveTarget, limits: MoveParts["limits"] = {}): StoreMove {
    const to = this.kind === "sqlite" ? "etcd" : "sqlite";
    return new StoreMove({ source, target, limits, note: { to, by: "studio", at: 1_000 }, clock: systemClock, log: silentLog });
  }

  decide = async (): Promise<void> => {
    this.kind = this.kind === "sqlite" ? "etcd" : "sqlite";
  };

  async begin(history: readonly Step[] = []): Promise<{ model: Model; store: MovableStore; cluster: ClusterId }> {
    const model = new Model();
    const store = new MovableStore(await this.open());
    const { cluster, epoch } = await store.claim();
    model.epoch = epoch;
    for (const step of history) await play(model, store, step, async () => store);
    return { model, store, cluster };
  }

  /** As the end of the process: what it has open is gone, and nothing is tidied up. */
  async die(): Promise<void> {
    for (const one of this.opened.splice(0).toReversed()) await one.close().catch(() => undefined);
  }

  async end(): Promise<void> {
    await this.die();
    rmSync(this.folder, { recursive: true });
  }

  private kept<T extends { close(): Promise<void> }>(one: T): T {
    this.opened.push(one);
    return one;
  }
}

/** `before` is done ahead of everything that is asked of the target. */
export function interrupted(target: MoveTarget, before: (what: keyof MoveTarget) => Promise<void>): MoveTarget {
  return new Proxy(target, {
    get: (its, name: keyof MoveTarget) => {
      const work = its[name] as ((...all: unknown[]) => Promise<unknown>) | undefined;
      if (work === undefined) return undefined;
      return async (...all: unknown[]) => {
        await before(name);
        return work.apply(its, all);
      };
    },
  });
}

/** On a store that is moved: nothing is pruned. */
export async function playMoved(model: Model, store: Store, step: Step): Promise<void> {
  if (step.kind === "prune") expect(await store.prune({ ...step, limit: 1_000 })).toMatchObject({ tasks: 0 });
  else await play(model, store, step, async () => store);
}
