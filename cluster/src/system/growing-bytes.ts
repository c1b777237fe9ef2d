/**
 * What comes in pieces, put together as it comes. A list of pieces would be no bound of memory: one that was sent byte by byte (chunks of
 * one byte, frames of one) takes four hundred bytes for each.
 */
const FIRST_BYTES = 256;

export class GrowingBytes {
  private held: Buffer = Buffer.alloc(0);
  private used = 0;

  get length(): number {
    return this.used;
  }

  add(piece: Uint8Array): void {
    const length = this.used + piece.length;
    if (length > this.held.length) {
      const larger = Buffer.allocUnsafeSlow(Math.max(FIRST_BYTES, this.held.length * 2, length));
      this.held.copy(larger, 0, 0, this.used);
      this.held = larger;
    }
    this.held.set(piece, this.used);
    this.used = length;
  }

  /** All of it. What is added later does not change it, and it is not to be changed. */
  get all(): Buffer {
    return this.held.subarray(0, this.used);
  }
}
