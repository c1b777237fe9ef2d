/**
 * What waits in memory for slow readers, all of them together. Each stream says what it holds; where that is too much in
 * all, whoever can begin anew later is dropped, the slowest first.
 *
 * B1. A reader counts from its first byte that had to wait until it has taken everything, or its connection is closed.
 * B2. Slowest is whose reader has been behind for the longest.
 */

/** What may wait for all of them. */
export const BACKLOG_BYTES_MAX = 64 * 1024 * 1024;

export interface Holder {
  /** Gives up what it can. Never called again after that. Without it the holder is bounded by itself. */
  readonly drop?: () => void;
}

export class Backlog {
  private bytes = 0;
  /** In the order in which they fell behind. */
  private readonly held = new Map<Holder, number>();
  private readonly droppable = new Set<Holder>();

  get full(): boolean {
    return this.bytes > BACKLOG_BYTES_MAX;
  }

  /** So much waits for its reader now; 0 when that has caught up. */
  hold(holder: Holder, bytes: number): void {
    const before = this.held.get(holder);
    this.bytes += bytes - (before ?? 0);
    if (bytes === 0) {
      this.held.delete(holder);
      this.droppable.delete(holder);
      return;
    }
    this.held.set(holder, bytes);
    if (before === undefined && holder.drop !== undefined) this.droppable.add(holder);
    while (this.full) {
      const [slowest] = this.droppable;
      if (slowest?.drop === undefined) return;
      this.droppable.delete(slowest);
      slowest.drop();
    }
  }
}
