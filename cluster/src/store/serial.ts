/** Work that is done one piece after the other, in the order in which it was asked for; a piece that fails fails alone. */
import { ClusterError } from "@openclaw-cluster/contract/errors";

export class Serial {
  private last: Promise<unknown> = Promise.resolve();
  private waiting = 0;
  private readonly waitingMax: number;

  constructor(waitingMax: number) {
    this.waitingMax = waitingMax;
  }

  async run<T>(work: () => Promise<T>): Promise<T> {
    if (this.waiting >= this.waitingMax) throw new ClusterError("overloaded", "The store has more waiting than it takes at once.");
    this.waiting += 1;
    const before = this.last;
    const { promise, resolve } = Promise.withResolvers<void>();
    this.last = promise;
    try {
      await before;
      return await work();
    } finally {
      this.waiting -= 1;
      resolve();
    }
  }
}
