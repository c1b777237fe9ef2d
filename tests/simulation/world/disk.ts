/**
 * The coordinator's disk: a ram store behind calls that take time, can be refused, and can be cut off in their midst. It
 * outlives the coordinators that use it, and shows the checker each commit as it becomes true.
 *
 * D1. Killed before its moment a commit has not happened, after it it has; nobody is told which.
 * D2. A disk that is full refuses and changes nothing. One that fails leaves the outcome open, and its process ends. A commit
 *     that writes nothing meets neither.
 */
import { ClusterError } from "@openclaw-cluster/contract/errors";
import { openRamStore } from "../../../cluster/src/store/ram.ts";
import { StoreBroken, type Batch, type Store } from "../../../cluster/src/store/store.ts";
import type { Chance } from "./chance.ts";
import type { PartyClock } from "./party-clock.ts";

export interface DiskFaults {
  full: number;
  broken: number;
}

/** Who is shown what, as it becomes true. */
export interface Shown {
  claimed(epoch: number, life: object): void;
  committed(batch: Batch, life: object): void;
}

const SYNC_MS = [0.2, 4] as const;
const READ_MS = [0.05, 1] as const;

export class Disk {
  /** What is true, whoever leads. */
  readonly truth: Store = openRamStore();
  readonly faults: DiskFaults = { full: 0, broken: 0 };
  private readonly chance: Chance;
  private readonly shown: Shown;

  constructor(chance: Chance, shown: Shown) {
    this.chance = chance;
    this.shown = shown;
  }

  /** The store as one life of a coordinator sees it. */
  open(clock: PartyClock): Store {
    const { truth } = this;
    const read = async <T>(work: () => Promise<T>): Promise<T> => {
      await clock.passes(this.chance.between(...READ_MS));
      return work();
    };
    return {
      kind: truth.kind,
      claim: () =>
        read(async () => {
          const claim = await truth.claim();
          this.shown.claimed(claim.epoch, clock);
          return claim;
        }),
      load: () => read(() => truth.load()),
      task: (key) => read(() => truth.task(key)),
      list: (filter, page) => read(() => truth.list(filter, page)),
      attempts: (key) => read(() => truth.attempts(key)),
      submitKey: (owner, key) => read(() => truth.submitKey(owner, key)),
      audit: (page) => read(() => truth.audit(page)),
      prune: (options) => read(() => truth.prune(options)),
      backup: (path) => truth.backup(path),
      bytes: () => truth.bytes(),
      close: () => truth.close(),
      commit: (batch) => this.commit(batch, clock),
    };
  }

  private async commit(batch: Batch, clock: PartyClock): Promise<void> {
    const { chance, faults, truth } = this;
    if (!writes(batch)) {
      await clock.passes(chance.between(...READ_MS));
      return truth.commit(batch);
    }
    await clock.passes(chance.between(...SYNC_MS));
    if (chance.is(faults.full)) throw new ClusterError("storage_full", "The disk is full.");
    const breaks = chance.is(faults.broken);
    if (breaks && chance.is(0.5)) throw new StoreBroken("The disk failed before it was written.");
    await truth.commit(batch);
    this.shown.committed(batch, clock);
    if (breaks) throw new StoreBroken("The disk failed after it was written.");
    await clock.passes(chance.between(...SYNC_MS));
  }
}

function writes({ epoch: _epoch, ...rows }: Batch): boolean {
  return Object.values(rows).some((some: readonly unknown[] | undefined) => some !== undefined && some.length > 0);
}
