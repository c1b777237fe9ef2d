/**
 * The order of work, and a binary heap in that order. Its elements know their place in it, so that any of them can be
 * moved or removed in O(log n); a queue in which tasks are cancelled needs that.
 *
 * H1. An element is in at most one heap; `at` is its place there, OUT when it is in none.
 * H2. Whoever changes an element's rank calls `fix` before the next look at `top`.
 */
export interface Ranked {
  /** Effective priority; the highest comes first. */
  level: number;
  /** Virtual start time in its fairness key; the lowest comes first. */
  tag: number;
  /** The task's number; the oldest comes first. */
  key: number;
  at: number;
}

export const OUT = -1;

export function before(a: Ranked, b: Ranked): boolean {
  if (a.level !== b.level) return a.level > b.level;
  if (a.tag !== b.tag) return a.tag < b.tag;
  return a.key < b.key;
}

export class Heap<T extends Ranked> {
  private readonly items: T[] = [];

  get size(): number {
    return this.items.length;
  }

  get top(): T | undefined {
    return this.items[0];
  }

  /** In no order. */
  all(): readonly T[] {
    return this.items;
  }

  /** Puts the element where its rank belongs; a new one comes in. */
  fix(item: T): void {
    if (item.at === OUT) {
      item.at = this.items.length;
      this.items.push(item);
    }
    if (!this.rise(item)) this.sink(item);
  }

  remove(item: T): void {
    const { at } = item;
    if (at === OUT) return;
    item.at = OUT;
    const last = this.items.pop() as T;
    if (last === item) return;
    this.put(last, at);
    if (!this.rise(last)) this.sink(last);
  }

  private put(item: T, at: number): void {
    this.items[at] = item;
    item.at = at;
  }

  private rise(item: T): boolean {
    const start = item.at;
    let at = start;
    while (at > 0) {
      const parent = this.items[(at - 1) >> 1] as T;
      if (!before(item, parent)) break;
      const above = parent.at;
      this.put(parent, at);
      at = above;
    }
    if (at !== start) this.put(item, at);
    return at !== start;
  }

  private sink(item: T): void {
    const count = this.items.length;
    const start = item.at;
    let at = start;
    for (;;) {
      let below = 2 * at + 1;
      if (below >= count) break;
      if (below + 1 < count && before(this.items[below + 1] as T, this.items[below] as T)) below++;
      const child = this.items[below] as T;
      if (!before(child, item)) break;
      this.put(child, at);
      at = below;
    }
    if (at !== start) this.put(item, at);
  }
}
