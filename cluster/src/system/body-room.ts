/**
 * What the bodies of requests hold in memory together, each from its first byte until it is left.
 *
 * B1. Up to `smallBytesMax` a body always finds room and is not counted: those are limited in number, and little beside the rest. So who
 *     sends much shuts out nobody who sends little.
 */
export interface BodyShare {
  /** It has so many bytes by now. false: there is no room for them. */
  hasRoomFor(bytes: number): boolean;
  /** Its memory is free again. Idempotent. */
  leave(): void;
}

export class BodyRoom {
  private readonly bytesMax: number;
  private readonly smallBytesMax: number;
  private heldBytes = 0;

  constructor(bytesMax: number, smallBytesMax: number) {
    this.bytesMax = bytesMax;
    this.smallBytesMax = smallBytesMax;
  }

  enter(): BodyShare {
    let ownBytes = 0;
    let isLeft = false;
    return {
      hasRoomFor: (bytes) => {
        if (isLeft) return false;
        if (bytes <= this.smallBytesMax) return true;
        this.heldBytes += bytes - ownBytes;
        ownBytes = bytes;
        return this.heldBytes <= this.bytesMax;
      },
      leave: () => {
        isLeft = true;
        this.heldBytes -= ownBytes;
        ownBytes = 0;
      },
    };
  }
}
