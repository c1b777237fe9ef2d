/**
 * Moves a store into another one while it works. All of it is copied as of one moment, and compared; then what was committed
 * meanwhile is written after it, round after round, until little is left; then the store is left, and the rest is a matter of
 * moments.
 *
 * V1. Whatever fails before `decide`, the store of before is the store, and the copy is nothing: it begins anew with the next move.
 *     From `decide` on the other one is the store, and whatever is left to do then is done at the next start (unfinished-move.ts).
 * V2. Every row that was written into the copy was read back from it after it was written last, and was the same.
 * V3. What waits to be written is bounded. While the copy is made, a move that falls behind is given up: to hold commits for so
 *     long would be a stop of intake that nobody asked for. From then on commits wait: they go at the pace of the other store, as
 *     they will afterwards.
 */
import assert from "node:assert/strict";
import { ClusterError } from "@openclaw-cluster/contract/errors";
import type { Clock } from "../system/clock.ts";
import type { Log } from "../system/log.ts";
import { pause } from "../system/pause.ts";
import type { Follower, MovableStore } from "./movable-store.ts";
import { attemptName, Changes } from "./store-changes.ts";
import type { MoveNote, MoveTarget, StoreView } from "./store-copy.ts";
import { StoreDigest } from "./store-digest.ts";
import type { Loaded, Rows } from "./store.ts";

export interface MoveParts {
  readonly source: MovableStore;
  readonly target: MoveTarget;
  readonly note: MoveNote;
  readonly clock: Clock;
  readonly log: Log;
  /** Fewer, for tests. */
  readonly limits?: { readonly behindBytesMax?: number; readonly pacedBytesMax?: number };
  onProgress?(progress: MoveProgress): void;
}

export interface MoveProgress {
  /** copying, comparing the copy, following what is committed meanwhile, ready to be finished; then switching, and over. */
  readonly phase: "copying" | "comparing" | "following" | "ready" | "switching" | "over";
  /** Tasks. */
  readonly copied: number;
  readonly of: number;
  /** Rows that were committed since, and wait to be written. */
  readonly behind: number;
}

export interface Moved {
  readonly tasks: number;
  /** From when the store was left to when the other one may be opened. */
  readonly stopMs: number;
}

/** JSON of what was committed while the copy was made: 100 small tasks a second for half an hour. */
const BEHIND_BYTES_MAX = 128 * 1_024 ** 2;
/** After that: written within a second or two. A commit beyond it waits. */
const PACED_BYTES_MAX = 4 * 1_024 ** 2;
const PACED_POLL_MS = 20;
/** So little is written, folded and read back in some 50 ms. */
const LEFT_ROWS_MAX = 100;
/** Under load there are always more than that; with a last round of PACED_BYTES_MAX the stop is a second or two. */
const ROUNDS_MAX = 20;

export class StoreMove {
  private readonly parts: MoveParts;
  private readonly changes = new Changes();
  /** Attempts that the view must not give: they come with the changes. */
  private readonly writtenAttempts = new Set<string>();
  private progress: MoveProgress = { phase: "copying", copied: 0, of: 0, behind: 0 };
  private fallenBehind: ClusterError | undefined;
  /** The store tells this move what is committed, and no other. */
  private isFollowing = false;
  private isPacing = false;
  private isDecided = false;
  private running: Promise<unknown> = Promise.resolve();
  private readonly given = new AbortController();

  constructor(parts: MoveParts) {
    this.parts = parts;
  }

  view(): MoveProgress {
    return { ...this.progress, behind: this.changes.rows };
  }

  /** Resolves when it may be finished. Commits go on all the time. */
  copy(): Promise<void> {
    return this.run(async () => {
      const view = await this.parts.source.follow(this.follower());
      this.isFollowing = true;
      try {
        const copied = await this.copyAll(view);
        this.at({ phase: "comparing" });
        await this.compareWith(copied);
      } finally {
        view.release();
      }
      this.at({ phase: "following" });
      await this.catchUp();
      await this.parts.target.prepare?.();
      this.at({ phase: "ready" });
    });
  }

  /**
   * The store's coordinator has been stopped: from here on no commit is taken. `decide` keeps, in one step, that the other one is
   * the store; where it rejects, nothing was decided. After a failure of what follows it the process must end.
   */
  finish(decide: () => Promise<void>): Promise<Moved> {
    return this.run(async () => {
      this.stopIfGiven();
      const { source, target, note, clock } = this.parts;
      const leftAt = clock.monotonic();
      this.at({ phase: "switching" });
      const { cluster, epoch } = await source.leave(note);
      await this.writeChanges();
      const present = await source.load();
      compareEnds(present, await target.load());
      await target.finish({ cluster, epoch, lastKey: present.lastKey });
      this.stopIfGiven();
      await decide();
      this.isDecided = true;
      await source.retire(note);
      await target.enter();
      this.at({ phase: "over" });
      const tasks = Object.values(present.counts).reduce((all, count) => all + count, 0);
      return { tasks, stopMs: clock.monotonic() - leftAt };
    });
  }

  /** Before anything is decided. Resolves when the store is as before, and may be claimed. */
  async cancel(reason = new ClusterError("unavailable", "The move of the store was given up.")): Promise<void> {
    this.given.abort(reason);
    // Its failure is told to whoever asked for it.
    await this.running.catch(() => undefined);
    assert(!this.isDecided, "a move that is decided cannot be taken back");
    this.changes.drop();
    // First: a copy that is whole must not be there when the store goes on.
    await this.parts.target.discard();
    if (this.isFollowing) await this.parts.source.comeBack();
    this.isFollowing = false;
  }

  private get behindBytesMax(): number {
    return this.parts.limits?.behindBytesMax ?? BEHIND_BYTES_MAX;
  }

  private run<T>(work: () => Promise<T>): Promise<T> {
    const running = work();
    this.running = running;
    return running;
  }

  private follower(): Follower {
    return {
      room: () => this.room(),
      writing: ({ attempts = [] }) => {
        if (this.progress.phase === "copying") for (const row of attempts) this.writtenAttempts.add(attemptName(row));
      },
      wrote: (rows) => {
        if (this.fallenBehind !== undefined) return;
        this.changes.note(rows);
        if (this.isPacing || this.changes.bytes <= this.behindBytesMax) return;
        this.fallenBehind = new ClusterError(
          "overloaded",
          `More than ${Math.round(this.behindBytesMax / 1_024 ** 2)} MiB were committed while the store was copied; move it when there is less to do.`,
        );
        this.changes.drop();
      },
    };
  }

  /** V3. */
  private async room(): Promise<void> {
    const { pacedBytesMax = PACED_BYTES_MAX } = this.parts.limits ?? {};
    while (this.isPacing && this.changes.bytes > pacedBytesMax) await pause(this.parts.clock, PACED_POLL_MS);
  }

  private async catchUp(): Promise<void> {
    this.isPacing = true;
    try {
      for (let round = 0; round < ROUNDS_MAX && this.changes.rows > LEFT_ROWS_MAX; round += 1) await this.writeChanges();
    } finally {
      // Whoever stops the coordinator now waits for its last commit.
      this.isPacing = false;
    }
  }

  private async copyAll(view: StoreView): Promise<StoreDigest> {
    const copied = new StoreDigest();
    this.at({ of: view.tasks });
    for await (const piece of view.pieces()) {
      await this.pass();
      const rows = this.withoutLater(piece);
      copied.add(rows);
      await this.parts.target.write(rows);
      this.at({ copied: this.progress.copied + (rows.created?.length ?? 0) });
    }
    this.writtenAttempts.clear();
    return copied;
  }

  private withoutLater({ attempts, ...rows }: Rows): Rows {
    if (attempts === undefined) return rows;
    return { ...rows, attempts: attempts.filter((row) => !this.writtenAttempts.has(attemptName(row))) };
  }

  private async compareWith(copied: StoreDigest): Promise<void> {
    const view = await this.parts.target.view();
    const there = new StoreDigest();
    try {
      for await (const rows of view.pieces()) {
        await this.pass();
        there.add(rows);
      }
    } finally {
      view.release();
    }
    refuse(copied.differenceTo(there));
  }

  /** V2. */
  private async writeChanges(): Promise<void> {
    const { target } = this.parts;
    const pieces = this.changes.take();
    for (const rows of pieces) {
      await this.pass();
      await target.write(rows);
    }
    const [written, there] = [new StoreDigest(), new StoreDigest()];
    for (const rows of pieces) {
      await this.pass();
      written.add(rows);
      there.add(await target.readBack(rows));
    }
    refuse(written.differenceTo(there));
  }

  /** Between two pieces. SQLite answers at once, and nothing else of this process would have its turn. */
  private async pass(): Promise<void> {
    await new Promise<void>((resolve) => this.parts.clock.soon(resolve));
    this.stopIfGiven();
  }

  private stopIfGiven(): void {
    this.given.signal.throwIfAborted();
    if (this.fallenBehind !== undefined) throw this.fallenBehind;
  }

  private at(change: Partial<MoveProgress>): void {
    this.progress = { ...this.progress, ...change };
    this.parts.onProgress?.(this.view());
  }
}

/** What a coordinator begins with. The greatest key may be one that was pruned, which a copy is told only at its end. */
function compareEnds(here: Loaded, there: Loaded): void {
  const [digest, other] = [here, there].map(({ live, nodes, tokens }) => {
    const its = new StoreDigest();
    its.add({ created: live, nodes, tokens });
    return its;
  }) as [StoreDigest, StoreDigest];
  refuse(digest.differenceTo(other));
  const heads = [here, there].map(({ auditHead, counts }) =>
    JSON.stringify([auditHead.seq, auditHead.hash, Object.entries(counts).toSorted(([a], [b]) => (a < b ? -1 : 1))]),
  );
  refuse(heads[0] === heads[1] ? undefined : `counts and audit log here: ${heads[0]}; there: ${heads[1]}`);
  refuse(there.lastKey <= here.lastKey ? undefined : `the last task is t${here.lastKey} here, and t${there.lastKey} there`);
}

function refuse(difference: string | undefined): void {
  if (difference !== undefined) throw new ClusterError("internal", `The copy of the store is not what the store is: ${difference}.`);
}
