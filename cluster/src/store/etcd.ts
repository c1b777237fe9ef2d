/**
 * The store in etcd: a log of batches, folded beside the work (docs/decisions/0013-etcd-store.md). The parts have files of their
 * own; this one is the door, and what holds for all of it.
 *
 * D1. Commits, and the transactions of a prune, go one after the other; so do folds, prunes and claims. Who has a place in the
 *     first line never waits for one in the second.
 * D2. After a change whose outcome stays unknown every call is refused with the same StoreBroken.
 * D3. Until it has claimed, a store reads what was there when it was first asked, or loaded last; from then on it is the only
 *     writer, and its image is right.
 */
import type { AuditEntry } from "@openclaw-cluster/contract/audit";
import { ClusterError } from "@openclaw-cluster/contract/errors";
import type { Attempt } from "@openclaw-cluster/contract/task";
import type { TaskRecord } from "../core/task.ts";
import { systemClock, type Clock, type Timer } from "../system/clock.ts";
import { silentLog, type Log } from "../system/log.ts";
import { pause } from "../system/pause.ts";
import { check, refuseTooLarge } from "./etcd-check.ts";
import { takeSeat, type Terms } from "./etcd-claim.ts";
import { EtcdFault, OPERATIONS_MAX, type EtcdClient } from "./etcd-client.ts";
import { Compaction } from "./etcd-compaction.ts";
import { fold, restamp } from "./etcd-fold.ts";
import type { Image } from "./etcd-image.ts";
import { Keys } from "./etcd-keys.ts";
import { loadImage } from "./etcd-load.ts";
import { append, confirmSeat, seated, sweep, type Seat } from "./etcd-log.ts";
import { surely, type Look } from "./etcd-look.ts";
import { comeBack } from "./etcd-move.ts";
import { patiently, type Place } from "./etcd-place.ts";
import { prune } from "./etcd-prune.ts";
import { Reads } from "./etcd-reads.ts";
import { toJson } from "./etcd-codec.ts";
import { etcdSource } from "./etcd-source.ts";
import { Serial } from "./serial.ts";
import { writeSqliteCopy } from "./sqlite-copy.ts";
import type { MoveNote, MoveSource, StoreView } from "./store-copy.ts";
import {
  StoreBroken,
  StoreFenced,
  type Batch,
  type Claim,
  type ListFilter,
  type Loaded,
  type Page,
  type Pruned,
  type PruneOptions,
  type SubmitKey,
} from "./store.ts";

export interface EtcdStoreOptions {
  /** The caller's, who also closes it. */
  readonly client: EtcdClient;
  /** Everything of one cluster lies under it: `openclaw-cluster/`. */
  readonly prefix: string;
  readonly log?: Log;
  readonly clock?: Clock;
  /** Fewer, for tests: so that a small fold has many steps. */
  readonly foldOperationsMax?: number;
}

export interface EtcdStore extends MoveSource {
  readonly kind: "etcd";
  /** With further terms the seat is taken together with what they do, or not at all: StoreFenced where they do not hold. */
  claim(terms?: Terms): Promise<Claim>;
  /** Everything that is committed by now is folded when it resolves. */
  fold(): Promise<void>;
  giveUp(): void;
}

/** From a commit to the fold that takes it along: what changes again by then is written once. */
const FOLD_MS = 500;
/** Or sooner, where so much waits. Bytes of the log are packed ones: in memory they are five times as many, or more. */
const FOLD_BYTES = 1_024 * 1_024;
const FOLD_AGAIN_MS = 2_000;
/** Of the log after the head. A commit beyond it waits for the fold. */
const UNFOLDED_BYTES_MAX = 16 * 1_024 * 1_024;
const UNFOLDED_ENTRIES_MAX = 20_000;
const COMMITS_WAITING_MAX = 1_024;
const FOLDS_WAITING_MAX = 64;

export async function openEtcdStore(options: EtcdStoreOptions): Promise<EtcdStore> {
  const { client, prefix, log = silentLog, clock = systemClock, foldOperationsMax = OPERATIONS_MAX } = options;
  return new LogStore({ client, keys: new Keys(prefix), log, clock }, foldOperationsMax);
}

class LogStore implements EtcdStore {
  readonly kind = "etcd";
  private readonly place: Place;
  private readonly gaveUp = new AbortController();
  private readonly foldOperationsMax: number;
  private readonly look: Look;
  private readonly reads: Reads;
  private readonly compaction: Compaction;
  private readonly commits = new Serial(COMMITS_WAITING_MAX);
  private readonly folds = new Serial(FOLDS_WAITING_MAX);
  private image: Image | undefined;
  private seat: Seat | undefined;
  /** What was made after this entry has left nothing of a fold that failed. */
  private safeSeq = 0;
  private hasFailedFold = false;
  private timer: Timer | undefined;
  private isClosed = false;
  private isCopying = false;
  /** Beside the work, of its own accord. */
  private isFolding = false;
  private broken: StoreBroken | undefined;

  constructor(place: Place, foldOperationsMax: number) {
    this.place = { ...place, givenUp: this.gaveUp.signal };
    this.foldOperationsMax = foldOperationsMax;
    this.look = surely(this.place);
    this.reads = new Reads(this.look, () => this.present());
    this.compaction = new Compaction(this.place);
  }

  claim(terms?: Terms): Promise<Claim> {
    return this.guard(() => this.folds.run(() => this.commits.run(() => this.takeOver(terms))));
  }

  load(): Promise<Loaded> {
    return this.guard(async () => {
      if (this.seat === undefined) this.image = undefined;
      return (await this.present()).loaded();
    });
  }

  async commit(batch: Batch): Promise<void> {
    return this.guard(async () => {
      await this.makeRoom();
      await this.commits.run(() => this.write(batch));
    });
  }

  task(key: number): Promise<TaskRecord | undefined> {
    return this.guard(() => this.reads.task(key));
  }

  list(filter: ListFilter, page: { before?: number; limit: number }): Promise<Page> {
    return this.guard(() => this.reads.list(filter, page));
  }

  attempts(key: number): Promise<readonly Attempt[]> {
    return this.guard(() => this.reads.attempts(key));
  }

  submitKey(owner: string, key: string): Promise<SubmitKey | undefined> {
    return this.guard(() => this.reads.submitKey(owner, key));
  }

  audit(page: { after: number; limit: number }): Promise<readonly AuditEntry[]> {
    return this.guard(() => this.reads.audit(page));
  }

  prune(options: PruneOptions): Promise<Pruned> {
    return this.guard(() =>
      this.folds.run(async () => {
        await this.foldNow();
        const { seat, image } = this.seated();
        return prune({ look: this.look, seat, image, inLine: (work) => this.commits.run(work) }, options);
      }),
    );
  }

  fold(): Promise<void> {
    return this.guard(() => this.folds.run(() => this.foldNow()));
  }

  async backup(path: string): Promise<void> {
    if (this.isCopying) throw new ClusterError("state_conflict", "A backup is being taken already.");
    this.isCopying = true;
    try {
      await this.guard(async () => {
        const revision = await this.foldedRevision();
        await this.compaction.holding(revision, () => writeSqliteCopy(path, etcdSource(this.look, revision)));
      });
    } catch (cause) {
      if (!(cause instanceof EtcdFault)) throw cause;
      throw new ClusterError("unavailable", "etcd forgot what was being copied: somebody else compacts it too.", { cause });
    } finally {
      this.isCopying = false;
    }
  }

  async view(): Promise<StoreView> {
    return this.guard(async () => {
      const { revision, tasks } = await this.folds.run(async () => {
        await this.foldNow();
        const counts = Object.values(this.seated().image.counts());
        return { revision: await this.headRevision(), tasks: counts.reduce((all, count) => all + count, 0) };
      });
      const released = Promise.withResolvers<void>();
      void this.compaction.holding(revision, () => released.promise);
      return { ...etcdSource(this.look, revision), tasks, release: () => released.resolve() };
    });
  }

  /** What it says of itself is in the very transaction that raises the epoch: other control nodes that stand by read it. */
  leave(note: MoveNote): Promise<Claim> {
    return this.guard(() =>
      this.folds.run(() =>
        this.commits.run(async () => {
          const { seat, image } = this.seated();
          const terms = { when: [seated(this.place, seat)], then: [{ put: this.place.keys.moved, value: toJson(note) }] };
          const taken = await takeSeat(this.place, terms);
          // The seat was ours until now: what the image says is right still.
          [this.seat, this.image] = [taken.seat, image];
          return { cluster: taken.cluster, epoch: taken.seat.epoch };
        }),
      ),
    );
  }

  comeBack(): Promise<void> {
    return this.guard(() => comeBack(this.place));
  }

  /** `leave` has said it. */
  async retire(): Promise<void> {}

  async bytes(): Promise<number> {
    return this.guard(async () => (await patiently(this.place, () => this.place.client.status())).usedBytes);
  }

  giveUp(): void {
    this.gaveUp.abort();
  }

  async close(): Promise<void> {
    this.isClosed = true;
    this.timer?.cancel();
    this.compaction.stop();
    await this.folds.run(() => this.commits.run(async () => undefined));
  }

  /** At which all is folded that was committed by now, and no fold is under way. */
  private foldedRevision(): Promise<number> {
    return this.folds.run(async () => {
      await this.foldNow();
      return this.headRevision();
    });
  }

  private async headRevision(): Promise<number> {
    return (await this.look.get([this.place.keys.head])).revision;
  }

  private async takeOver(terms: Terms | undefined): Promise<Claim> {
    this.seat = undefined;
    this.image = undefined;
    const { seat, cluster } = await takeSeat(this.place, terms);
    const image = await loadImage(this.look);
    await sweep(this.place, seat, { applied: image.head.applied, seq: image.seq });
    this.seat = seat;
    this.image = image;
    // The one before may have left half a fold.
    this.safeSeq = image.seq;
    this.hasFailedFold = false;
    this.foldSoon();
    return { cluster, epoch: seat.epoch };
  }

  private async write({ epoch, ...rows }: Batch): Promise<void> {
    const { seat, image } = this.seated();
    if (epoch !== seat.epoch) throw new StoreFenced(`epoch ${epoch} is not the newest one, ${seat.epoch}`);
    if (Object.values(rows).every((some) => some === undefined || some.length === 0)) return confirmSeat(this.place, seat);
    const checked = await check({ epoch, ...rows }, image, this.reads, this.look).catch(async (error: unknown) => {
      // The history that it asked etcd about may be another writer's by now.
      await confirmSeat(this.place, seat);
      throw error;
    });
    const seq = image.seq + 1;
    const bytes = await append(this.place, seat, { seq, checked, rows, onLarge: () => refuseTooLarge({ epoch, ...rows }) });
    image.apply({ seq, bytes, ...checked, rows });
    this.foldSoon();
  }

  /** A commit that finds the log full waits here, where it keeps nobody back. */
  private async makeRoom(): Promise<void> {
    const { entries = 0, bytes = 0 } = this.image?.unfolded ?? {};
    if (entries >= UNFOLDED_ENTRIES_MAX || bytes >= UNFOLDED_BYTES_MAX) await this.folds.run(() => this.foldNow());
  }

  private async foldNow(): Promise<void> {
    const { seat, image } = this.seated();
    this.timer?.cancel();
    this.timer = undefined;
    if (image.seq === image.head.applied) return;
    if (this.hasFailedFold) {
      image.passed(await restamp(this.place, seat, image.head));
      this.hasFailedFold = false;
    }
    const upTo = image.seq;
    try {
      const folding = { image, safeSeq: this.safeSeq, operationsMax: this.foldOperationsMax };
      const { head, revision } = await fold(this.place, seat, folding);
      image.passed(head);
      this.compaction.note(revision);
    } catch (error) {
      this.safeSeq = Math.max(this.safeSeq, upTo);
      this.hasFailedFold = true;
      throw error;
    }
  }

  private foldSoon(): void {
    const { image } = this;
    if (image === undefined || image.seq === image.head.applied) return;
    this.foldAfter(image.unfolded.bytes >= FOLD_BYTES ? 0 : FOLD_MS);
  }

  /** One that waits or runs is enough: whoever comes meanwhile is taken along, or is followed by the next. */
  private foldAfter(ms: number): void {
    if (this.isClosed || this.isFolding || (this.timer !== undefined && ms > 0)) return;
    this.timer?.cancel();
    this.timer = this.place.clock.after(ms, () => void this.foldBeside());
  }

  private async foldBeside(): Promise<void> {
    const { seat } = this;
    this.timer = undefined;
    this.isFolding = true;
    try {
      await this.fold();
    } catch (error) {
      // Whoever writes next is told; there is nothing more to fold for a store that is broken, or has lost its seat.
      if (error instanceof StoreFenced || error instanceof StoreBroken || this.seat !== seat) return;
      this.place.log.warn({ err: error }, "the log in etcd was not folded; it is tried again");
      await pause(this.place.clock, FOLD_AGAIN_MS);
    } finally {
      this.isFolding = false;
    }
    this.foldSoon();
  }

  private seated(): { seat: Seat; image: Image } {
    const { seat, image } = this;
    if (seat === undefined || image === undefined) throw new StoreFenced("this store was never claimed");
    return { seat, image };
  }

  private async present(): Promise<Image> {
    return (this.image ??= await loadImage(this.look));
  }

  private async guard<T>(work: () => Promise<T>): Promise<T> {
    if (this.broken !== undefined) throw this.broken;
    try {
      return await work();
    } catch (error) {
      if (error instanceof StoreBroken) this.broken = error;
      throw error;
    }
  }
}
