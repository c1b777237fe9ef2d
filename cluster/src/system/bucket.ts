/** What may be taken so fast in the long run, and more at once after a quiet time. Full at the start. */
export interface BucketSize {
  readonly max: number;
  readonly perSecond: number;
}

export class Bucket {
  private readonly size: BucketSize;
  private left: number;
  private filledAt: number;

  /** `now`, here and below: monotonic ms. */
  constructor(size: BucketSize, now: number) {
    this.size = size;
    this.left = size.max;
    this.filledAt = now;
  }

  /** False: there is not so much left, and nothing was taken. */
  take(amount: number, now: number): boolean {
    const { max, perSecond } = this.size;
    this.left = Math.min(max, this.left + ((now - this.filledAt) / 1_000) * perSecond);
    this.filledAt = now;
    if (this.left < amount) return false;
    this.left -= amount;
    return true;
  }

  giveBack(amount: number): void {
    this.left = Math.min(this.size.max, this.left + amount);
  }
}
