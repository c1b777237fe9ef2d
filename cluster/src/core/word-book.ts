/**
 * What the leader has read of the words that control nodes which stand by may have given to nodes (coordinator/standby-word.ts), and what
 * follows of it: may a silent node go on by one, though its lease is over? Pure; all times are the leader's own monotonic ones, in ms.
 *
 * B1. A word moves nothing any more once the node's lease is over. So it is enough to know what had been said by then, and only what was
 *     read since tells that.
 * B2. A control node knows what it has said. It is believed where it wrote after the lease's end: where it had heard by then that an
 *     earlier write of its own was taken, which came after such a reading.
 * B3. One that is not heard any more said nothing that lasts for longer than PAUSE_MS from its last write.
 * B4. Words are of a term. Those of an earlier one no node heeds that has heard this leader; of the others it knows itself (Lead.start).
 */
import { lostAfterMs, PAUSE_MS } from "./liveness.ts";

/** The word of a control node that stands by, as the store keeps it. */
export interface StandbyWord {
  readonly node: string;
  /** Of this life of its daemon. */
  readonly boot: string;
  /** Counts what it writes in that life, from 1. */
  readonly n: number;
  /** The last one of which it has heard that it was taken; 0: none. */
  readonly heard: number;
  /** The term in which it was taken. */
  readonly epoch: number;
  /** Whatever it has said to nodes ends so much later than this was sent, at most; 0: nothing lasts. */
  readonly saidMs: number;
}

/** Of a minute: a control node that lives needs two. */
const READINGS_MAX = 64;
/** As with a pause: a word can be on its way for some seconds, and to stop what runs takes a few. */
const MARGIN_MS = lostAfterMs({});

interface Reading {
  readonly askedAt: number;
  readonly words: ReadonlyMap<string, StandbyWord>;
}

interface Known {
  readonly word: StandbyWord;
  /** First read then, so it was written before. */
  readonly readAt: number;
  /** Of everything that it has ever told. */
  readonly saidUntil: number;
}

export class WordBook {
  private readonly readings: Reading[] = [];
  private readonly known = new Map<string, Known>();

  /** What the store had at some moment between the two times. */
  read(words: readonly StandbyWord[], askedAt: number, answeredAt: number): void {
    this.readings.push({ askedAt, words: new Map(words.map((word) => [word.node, word])) });
    if (this.readings.length > READINGS_MAX) this.readings.shift();
    for (const word of words) {
      const before = this.known.get(word.node);
      if (before !== undefined && isSame(before.word, word)) continue;
      const saidUntil = Math.max(before?.saidUntil ?? -Infinity, word.saidMs > 0 ? answeredAt + word.saidMs : -Infinity);
      this.known.set(word.node, { word, readAt: answeredAt, saidUntil });
    }
  }

  /** By whose word may `node` go on, whose own lease was over at `endedAt`? `unread`: nothing was read since. */
  binds(node: string, endedAt: number, epoch: number, now: number): string | undefined {
    const since = this.readings.filter(({ askedAt }) => askedAt >= endedAt);
    const newest = since.at(-1);
    if (newest === undefined) return "unread";
    return newest.words.values().find((word) => word.node !== node && word.epoch === epoch && this.mayBind(word, since, now))?.node;
  }

  private mayBind(word: StandbyWord, since: readonly Reading[], now: number): boolean {
    const { saidUntil, readAt } = this.known.get(word.node) as Known;
    if (now < saidUntil + MARGIN_MS) return true;
    return !wroteSince(word, since) && now < readAt + PAUSE_MS + MARGIN_MS;
  }
}

/** B2. */
function wroteSince({ node, boot, heard }: StandbyWord, readings: readonly Reading[]): boolean {
  return readings.some(({ words }) => {
    const earlier = words.get(node);
    return earlier !== undefined && earlier.boot === boot && earlier.n < heard;
  });
}

const isSame = (a: StandbyWord, b: StandbyWord): boolean => a.boot === b.boot && a.n === b.n;
