/**
 * A store that can be moved while it works: every call goes to the store behind it, and while it is moved, what is committed is
 * told to whoever moves it.
 *
 * M1. Commits go one after the other, and a view is opened between two of them: what is in the view, and what is told from then
 *     on, is all there is.
 * M2. Once it is left, every commit and claim is refused with StoreFenced, here and by the store itself: its epoch has grown. So
 *     whoever moves a store stops its coordinator first; one that was forgotten steps down as one that was replaced does.
 * M3. While it is moved nothing is pruned: the copy would have to be told, and a move is over in minutes. What was begun before is
 *     over when the view is opened; the store sees to that.
 */
import type { AuditEntry } from "@openclaw-cluster/contract/audit";
import { ClusterError } from "@openclaw-cluster/contract/errors";
import type { Attempt } from "@openclaw-cluster/contract/task";
import type { TaskRecord } from "../core/task.ts";
import { Serial } from "./serial.ts";
import type { MoveNote, MoveSource, StoreView } from "./store-copy.ts";
import { StoreFenced, type Batch, type Claim, type ListFilter, type Loaded, type Page, type Pruned, type PruneOptions } from "./store.ts";
import type { Rows, Store, SubmitKey } from "./store.ts";

/** Who hears what is committed while a store is moved. */
export interface Follower {
  /** Before each commit: resolves when there is room for it. Never rejects. */
  room(): Promise<void>;
  /** It may be in the store from now on. */
  writing(rows: Rows): void;
  /** It is. */
  wrote(rows: Rows): void;
}

/** The coordinator has one at a time; the rest is for what it says at its end. */
const COMMITS_WAITING_MAX = 1_024;

export class MovableStore implements Store {
  readonly kind: Store["kind"];
  private readonly source: MoveSource;
  private readonly line = new Serial(COMMITS_WAITING_MAX);
  private isMoving = false;
  /** From the view on. */
  private follower: Follower | undefined;
  private isLeft = false;

  constructor(source: MoveSource) {
    this.source = source;
    this.kind = source.kind;
  }

  /** state_conflict where it is being moved already. The view does not have what `follower` hears. */
  async follow(follower: Follower): Promise<StoreView> {
    if (this.isMoving) throw new ClusterError("state_conflict", "The store is being moved already.");
    this.isMoving = true;
    try {
      await this.source.fold?.();
      return await this.line.run(async () => {
        const view = await this.source.view();
        this.follower = follower;
        return view;
      });
    } catch (error) {
      this.isMoving = false;
      throw error;
    }
  }

  /** M2. Everything that was committed has been told when it resolves. */
  leave(note: MoveNote): Promise<Claim> {
    return this.line.run(async () => {
      this.isLeft = true;
      return this.source.leave(note);
    });
  }

  /** It is not moved after all. */
  async comeBack(): Promise<void> {
    this.follower = undefined;
    if (this.isLeft) await this.line.run(() => this.source.comeBack());
    this.isLeft = false;
    this.isMoving = false;
  }

  retire(note: MoveNote): Promise<void> {
    return this.source.retire(note);
  }

  async claim(): Promise<Claim> {
    return this.line.run(async () => {
      this.refuseIfLeft();
      return this.source.claim();
    });
  }

  async commit({ epoch, ...rows }: Batch): Promise<void> {
    await this.follower?.room();
    await this.line.run(async () => {
      this.refuseIfLeft();
      const { follower } = this;
      follower?.writing(rows);
      await this.source.commit({ epoch, ...rows });
      follower?.wrote(rows);
    });
  }

  async prune(options: PruneOptions): Promise<Pruned> {
    return this.isMoving ? { tasks: 0, more: false } : this.source.prune(options);
  }

  load(): Promise<Loaded> {
    return this.source.load();
  }

  task(key: number): Promise<TaskRecord | undefined> {
    return this.source.task(key);
  }

  list(filter: ListFilter, page: { before?: number; limit: number }): Promise<Page> {
    return this.source.list(filter, page);
  }

  attempts(key: number): Promise<readonly Attempt[]> {
    return this.source.attempts(key);
  }

  submitKey(owner: string, key: string): Promise<SubmitKey | undefined> {
    return this.source.submitKey(owner, key);
  }

  audit(page: { after: number; limit: number }): Promise<readonly AuditEntry[]> {
    return this.source.audit(page);
  }

  backup(path: string): Promise<void> {
    return this.source.backup(path);
  }

  bytes(): Promise<number | undefined> {
    return this.source.bytes();
  }

  giveUp(): void {
    this.source.giveUp?.();
  }

  close(): Promise<void> {
    return this.source.close();
  }

  private refuseIfLeft(): void {
    if (this.isLeft) throw new StoreFenced("this store is being moved elsewhere");
  }
}
