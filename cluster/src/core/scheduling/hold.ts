/**
 * Holding a node for a task that others would keep out for ever, a bit at a time: one that takes several slots or much
 * memory never finds them all free at once while small tasks take each as it comes back, and one that may not be given
 * ahead never finds a slot on a node that is given short work far ahead. What comes after it in the order of work then
 * leaves the node alone until it has started.
 *
 * J1. A line holds at most one node, a node is held for at most one line.
 * J2. Of two lines that want a node the one with the higher level gets it, then the one with the older task.
 * J3. A hold ends when the line's first task is placed or taken away, or when the node no longer fits it; that is news of
 *     the node, which wakes those that were kept out.
 */
import type { Fit, FitBook } from "./fits.ts";
import { outranks, type Member } from "./member.ts";
import type { Line } from "./queue.ts";
import type { Roster } from "./roster.ts";

/**
 * From this age on a task has a node emptied for it. Sooner would leave slots idle that others could use meanwhile.
 * Behind work given ahead it has one at once, since that is gone within milliseconds.
 */
export const HOLD_AFTER_MS = 30_000;

export class Holds {
  private readonly roster: Roster;
  private readonly fits: FitBook;
  /** No line's `retryAt` is before this. */
  private nextRetryAt = Infinity;

  constructor(roster: Roster, fits: FitBook) {
    this.roster = roster;
    this.fits = fits;
  }

  /** After a line found no room on any of the nodes that fit it; `closed` are those found full just now. */
  seek(line: Line, closed: readonly Fit[], now: number): void {
    const { shape } = line;
    const canBeNibbled = shape.slots > 1 || shape.memoryMiB > 0;
    const patientUntil = canBeNibbled ? line.head.queuedAt + HOLD_AFTER_MS : Infinity;
    line.wantsHold = false;
    line.retryAt = Infinity;
    if (line.holds !== undefined) return;
    if (now >= patientUntil) {
      this.holdNearest(line, this.fits.of(shape).list);
    } else {
      this.holdNearest(
        line,
        closed.filter(({ member }) => member.isLedAgainst(shape)),
      );
      line.retryAt = patientUntil;
      this.nextRetryAt = Math.min(this.nextRetryAt, patientUntil);
    }
  }

  /** Is there a hold to be had on this node, which has news but no room? */
  isWorthAsking(line: Line, member: Member): boolean {
    if (line.holds !== undefined || (member.hold !== undefined && outranks(member.hold, line))) return false;
    return line.wantsHold || member.isLedAgainst(line.shape);
  }

  lift(line: Line): void {
    const { holds } = line;
    if (holds === undefined) return;
    line.holds = undefined;
    holds.hold = undefined;
    this.roster.stir(holds);
  }

  /** The lines that have been patient for long enough. */
  due(now: number, lines: Iterable<Line>): Line[] {
    if (now < this.nextRetryAt) return [];
    const due: Line[] = [];
    this.nextRetryAt = Infinity;
    for (const line of lines) {
      if (line.retryAt <= now) due.push(line);
      else this.nextRetryAt = Math.min(this.nextRetryAt, line.retryAt);
    }
    return due;
  }

  private holdNearest(line: Line, fits: readonly Fit[]): void {
    let nearest: Member | undefined;
    for (const { member } of fits) {
      // A node that refuses the shape at present is not short of room.
      if (this.fits.penalty(line.shape, member.id) !== undefined) continue;
      if (member.hold !== undefined && outranks(member.hold, line)) continue;
      if (nearest === undefined || member.shortfall(line.shape) < nearest.shortfall(line.shape)) nearest = member;
    }
    if (nearest !== undefined) this.hold(line, nearest);
    else line.wantsHold = fits.length > 0;
  }

  /** J1, J2. */
  private hold(line: Line, member: Member): void {
    const displaced = member.hold?.holder;
    if (displaced !== undefined) {
      displaced.holds = undefined;
      displaced.wantsHold = true;
      this.roster.stir(member);
    }
    member.hold = { holder: line, level: line.level, key: line.key };
    line.holds = member;
  }
}
