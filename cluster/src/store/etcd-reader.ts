/**
 * The store's read half for those who stand by: it follows the log and keeps the same image as the writer. Without a quorum it
 * goes on reading from the member that it reaches, and says how old that is.
 *
 * W1. Entries are applied in their order, each once; where one is missing, or forgotten by etcd, everything is loaded anew.
 * W2. A listener hears of an entry after the image has it, and of each load instead of what it may have missed.
 */
import type { ClusterId } from "@openclaw-cluster/contract/ids";
import type { AuditEntry } from "@openclaw-cluster/contract/audit";
import type { Attempt } from "@openclaw-cluster/contract/task";
import type { TaskRecord } from "../core/task.ts";
import { systemClock } from "../system/clock.ts";
import { silentLog } from "../system/log.ts";
import { pause } from "../system/pause.ts";
import { EtcdFault, type Change } from "./etcd-client.ts";
import { fromJson, rowsOf, type Head, type LogEntry } from "./etcd-codec.ts";
import type { Image } from "./etcd-image.ts";
import { Keys, numberIn } from "./etcd-keys.ts";
import { loadImage, present, readEntry, readSpecs } from "./etcd-load.ts";
import { direct, local, nearby, type Look } from "./etcd-look.ts";
import type { Place } from "./etcd-place.ts";
import { Reads } from "./etcd-reads.ts";
import type { EtcdStoreOptions } from "./etcd.ts";
import { epochIn } from "./etcd-claim.ts";
import type { Claim, ListFilter, Loaded, Page, Rows, Store, SubmitKey } from "./store.ts";

/** A batch was applied; or all was loaded anew, and what changed since the last one is not known. */
export type Heard =
  | { readonly kind: "batch"; readonly epoch: number; readonly rows: Rows }
  | { readonly kind: "loaded"; readonly loaded: Loaded };

export interface Lag {
  /** etcd's revision up to which the log was heard; where nothing changes, none is. */
  readonly revision: number;
  /** The last entry of the log that is applied. */
  readonly entry: number;
  /** When it was heard, by the wall clock. */
  readonly heardAt: number;
}

export interface EtcdReader extends Pick<Store, "load" | "task" | "list" | "attempts" | "submitKey" | "audit" | "close"> {
  readonly kind: "etcd";
  /** As `load`, of what is in memory already. */
  present(): Loaded;
  /** Whose store it is, and the newest epoch; undefined: nobody has claimed it yet. */
  claimed(): Promise<Claim | undefined>;
  lag(): Lag;
  /**
   * 0: a quorum has just confirmed that everything committed before this call is here. Else the time since something was heard
   * last, in ms, at least 1. Resolves within CONFIRM_MS.
   */
  staleMs(): Promise<number>;
  /** Until the function that it gives is called. */
  onChange(listener: (heard: Heard) => void): () => void;
}

const AGAIN_MS = 500;
const CONFIRM_MS = 1_500;

export async function openEtcdReader(options: EtcdStoreOptions): Promise<EtcdReader> {
  const { client, prefix, log = silentLog, clock = systemClock } = options;
  const reader = new Follower({ client, keys: new Keys(prefix), log, clock });
  await reader.begin();
  return reader;
}

class Follower implements EtcdReader {
  readonly kind = "etcd";
  private readonly place: Place;
  private readonly look: Look;
  private readonly reads: Reads;
  private readonly listeners = new Set<(heard: Heard) => void>();
  private readonly leaving = new AbortController();
  private following: Promise<void> | undefined;
  private image: Image | undefined;
  private heardAt = 0;

  constructor(place: Place) {
    this.place = place;
    this.look = nearby(place, () => this.now.revision);
    this.reads = new Reads(this.look, async () => this.now);
  }

  async begin(): Promise<void> {
    await this.loadAnew();
    this.following = this.follow();
  }

  lag(): Lag {
    return { revision: this.now.revision, entry: this.now.seq, heardAt: this.heardAt };
  }

  onChange(listener: (heard: Heard) => void): () => void {
    this.listeners.add(listener);
    return () => void this.listeners.delete(listener);
  }

  async load(): Promise<Loaded> {
    return this.present();
  }

  present(): Loaded {
    return this.now.loaded();
  }

  async claimed(): Promise<Claim | undefined> {
    const { keys } = this.place;
    const { found } = await this.look.get([keys.epoch, keys.cluster]);
    const [mark, cluster] = found.map((entry) => entry?.value.toString());
    return mark === undefined || cluster === undefined ? undefined : { cluster: cluster as ClusterId, epoch: epochIn(mark) };
  }

  async staleMs(): Promise<number> {
    const { clock } = this.place;
    const until = clock.monotonic() + CONFIRM_MS;
    try {
      const wanted = await this.newest(until);
      while (this.now.seq < wanted && clock.monotonic() < until) await this.nextHeard(until - clock.monotonic());
      if (this.now.seq >= wanted) return 0;
    } catch (error) {
      if (!(error instanceof EtcdFault) || !error.passes) throw error;
    }
    return Math.max(1, clock.wall() - this.heardAt);
  }

  task(key: number): Promise<TaskRecord | undefined> {
    return this.reads.task(key);
  }

  list(filter: ListFilter, page: { before?: number; limit: number }): Promise<Page> {
    return this.reads.list(filter, page);
  }

  attempts(key: number): Promise<readonly Attempt[]> {
    return this.reads.attempts(key);
  }

  submitKey(owner: string, key: string): Promise<SubmitKey | undefined> {
    return this.reads.submitKey(owner, key);
  }

  audit(page: { after: number; limit: number }): Promise<readonly AuditEntry[]> {
    return this.reads.audit(page);
  }

  async close(): Promise<void> {
    this.leaving.abort();
    await this.following;
  }

  /** The newest entry that is committed, by a quorum's word. The head is read last: what is folded between the two stands in it. */
  private async newest(until: number): Promise<number> {
    const { client, keys, clock } = this.place;
    const leftMs = (): { timeoutMs: number } => ({ timeoutMs: Math.max(1, until - clock.monotonic()) });
    const { entries } = await client.range({ from: keys.log, to: keys.head, limit: 1, newestKeyFirst: true, keysOnly: true }, leftMs());
    const { found } = await client.transact({ when: [], then: [{ get: keys.head }] }, leftMs());
    const applied = found[0] === undefined ? 0 : fromJson<Head>(found[0].value).applied;
    return Math.max(applied, ...entries.map(({ key }) => numberIn(key)));
  }

  private nextHeard(ms: number): Promise<void> {
    return new Promise((resolve) => {
      const over = (): void => {
        stop();
        timer.cancel();
        resolve();
      };
      const stop = this.onChange(over);
      const timer = this.place.clock.after(ms, over);
    });
  }

  private get now(): Image {
    if (this.image === undefined) throw new Error("the reader has not begun");
    return this.image;
  }

  private async follow(): Promise<void> {
    const { client, keys, log, clock } = this.place;
    const { signal } = this.leaving;
    for (let isLost = false; !signal.aborted;) {
      try {
        if (isLost) await this.loadAnew();
        isLost = false;
        for await (const changes of client.watch(keys.log, this.now.revision + 1, signal)) await this.hear(changes);
      } catch (error) {
        isLost = true;
        if (!(error instanceof EtcdFault)) log.error({ err: error }, "the log in etcd could not be followed; all of it is loaded anew");
        else log.warn({ err: error }, "following the log in etcd broke off; all of it is loaded anew");
        if (!signal.aborted) await pause(clock, AGAIN_MS);
      }
    }
  }

  private async loadAnew(): Promise<void> {
    this.image = await this.loadSurelyOrLocally();
    this.heardAt = this.place.clock.wall();
    this.tell({ kind: "loaded", loaded: this.image.loaded() });
  }

  private async loadSurelyOrLocally(): Promise<Image> {
    try {
      return await loadImage(direct(this.place));
    } catch (error) {
      if (!(error instanceof EtcdFault) || !error.passes) throw error;
      return loadImage(local(this.place));
    }
  }

  /** What one revision has changed. */
  private async hear(changes: readonly Change[]): Promise<void> {
    const { keys } = this.place;
    for (const { key, value, revision } of changes) {
      if (value === undefined) continue;
      if (key === keys.head) this.passed(fromJson<Head>(value));
      // What is older is folded already, and comes late.
      else if (numberIn(key) > this.now.seq) await this.apply({ key, value }, revision);
    }
    this.now.revision = changes.at(-1)?.revision ?? this.now.revision;
    this.heardAt = this.place.clock.wall();
  }

  private passed(head: Head): void {
    this.expectNext(Math.min(head.applied, this.now.seq) === head.applied);
    this.now.passed(head);
  }

  private async apply(change: { key: string; value: Buffer }, revision: number): Promise<void> {
    this.expectNext(numberIn(change.key) === this.now.seq + 1);
    const { seq, bytes, entry } = await readEntry(this.look, change, revision);
    const specOf = await this.specsFor(entry);
    const { image } = this;
    const rows = rowsOf(entry, specOf);
    image?.apply({ seq, bytes, counts: entry.counts, reopened: entry.reopened, rows });
    this.tell({ kind: "batch", epoch: entry.epoch, rows });
  }

  /** W1. */
  private expectNext(isNext: boolean): void {
    if (!isNext) throw new EtcdFault("compacted", "an entry of the log was not heard");
  }

  /** Of tasks that were finished, and are run again, the spec is read. */
  private async specsFor({ rows }: LogEntry): Promise<(key: number) => TaskRecord["spec"]> {
    const { live, tasks } = this.now;
    const known = (key: number): TaskRecord["spec"] | undefined => (live.get(key) ?? tasks.get(key)?.task)?.spec;
    const created = new Set(rows.created?.map(({ key }) => key));
    const wanted = (rows.changed ?? []).map(({ key }) => key).filter((key) => known(key) === undefined && !created.has(key));
    const read = wanted.length === 0 ? new Map<number, TaskRecord["spec"]>() : await readSpecs(this.look, wanted);
    return (key) => known(key) ?? present(read, key);
  }

  private tell(heard: Heard): void {
    for (const listener of this.listeners) listener(heard);
  }
}
