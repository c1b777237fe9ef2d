/**
 * The numbers of one sender that were seen already. Messages overtake one another, so a number below the highest is not old
 * by itself; but what is further below than WINDOW was overtaken by more than can have been under way, and counts as seen.
 * (The way of RFC 4303, section 3.4.3.)
 */

/** Above what waits for one line at most (line.ts), and every heartbeat, report and order that can pass it meanwhile. */
const WINDOW = 4_096;

export class ReplayWindow {
  readonly #seen = new Set<number>();
  #highest = 0;

  /** True the first time. */
  take(number: number): boolean {
    if (number <= this.#highest - WINDOW || this.#seen.has(number)) return false;
    this.#seen.add(number);
    this.#highest = Math.max(this.#highest, number);
    if (this.#seen.size > 2 * WINDOW) {
      for (const old of this.#seen) if (old <= this.#highest - WINDOW) this.#seen.delete(old);
    }
    return true;
  }
}
