/**
 * The leader's eye on what control nodes that stand by may have told its nodes (standby-word.ts): of a silent node nothing is given away
 * by which it may go on.
 *
 * H1. All of them are read once a second, also while all is well: when one is gone, since when is known.
 */
import { WordBook } from "../core/word-book.ts";
import type { Clock } from "../system/clock.ts";
import type { Log } from "../system/log.ts";
import { leaseEndOf, type NodeEntry } from "./registry.ts";
import type { StandbyWords } from "./standby-words.ts";

export interface WordWatchParts {
  readonly words: Pick<StandbyWords, "read">;
  readonly epoch: number;
  readonly clock: Clock;
  readonly log: Log;
}

export class WordWatch {
  private readonly parts: WordWatchParts;
  private readonly book = new WordBook();
  private isReading = false;
  /** Said once of each silence. */
  private readonly told = new WeakMap<NodeEntry, number>();

  constructor(parts: WordWatchParts) {
    this.parts = parts;
  }

  /** H1. At each look at the nodes. */
  async read(): Promise<void> {
    const { words, clock, log } = this.parts;
    if (this.isReading) return;
    this.isReading = true;
    const askedAt = clock.monotonic();
    try {
      this.book.read(await words.read(), askedAt, clock.monotonic());
    } catch (error) {
      log.debug({ err: error }, "what control nodes that stand by have said cannot be read at the moment");
    } finally {
      this.isReading = false;
    }
  }

  /** May it go on though it has been silent for so long? */
  holds(entry: NodeEntry, now: number): boolean {
    const { epoch, log } = this.parts;
    const { id } = entry.row;
    const by = this.book.binds(id, leaseEndOf(entry, now), epoch, now);
    if (by === undefined || by === "unread") return by !== undefined;
    if (this.told.get(entry) !== entry.seenAt)
      log.warn({ node: id, by }, "a silent node may have been told to go on; its work stays its own for a while");
    this.told.set(entry, entry.seenAt ?? now);
    return true;
  }
}
