/** A queue in an array: taking from the front moves nothing, and the used-up front is given back in large pieces. */
const SPENT_MAX = 1_024;

export class Fifo<Item> {
  private items: Item[] = [];
  private head = 0;

  get size(): number {
    return this.items.length - this.head;
  }

  add(item: Item): void {
    this.items.push(item);
  }

  /** The next one, left in its place. */
  peek(): Item | undefined {
    return this.items[this.head];
  }

  take(): Item | undefined {
    if (this.head === this.items.length) return undefined;
    const item = this.items[this.head];
    this.head++;
    if (this.head === this.items.length) {
      this.items = [];
      this.head = 0;
    } else if (this.head >= SPENT_MAX && this.head * 2 >= this.items.length) {
      this.items = this.items.slice(this.head);
      this.head = 0;
    }
    return item;
  }

  /** Back to the front, in the order given. */
  putBack(items: readonly Item[]): void {
    this.items = [...items, ...this];
    this.head = 0;
  }

  /** Takes out the first that fits. */
  remove(fits: (item: Item) => boolean): Item | undefined {
    const at = this.items.findIndex((item, index) => index >= this.head && fits(item));
    return at < 0 ? undefined : this.items.splice(at, 1)[0];
  }

  takeAll(): Item[] {
    const all = [...this];
    this.items = [];
    this.head = 0;
    return all;
  }

  *[Symbol.iterator](): Iterator<Item> {
    for (let index = this.head; index < this.items.length; index++) yield this.items[index] as Item;
  }
}
