/**
 * Who holds how many of the open streams. A stream costs its reader nothing, so without shares one viewer could hold them all, and
 * nobody else could follow a task, nor see who it is.
 */
import { LIMITS } from "@openclaw-cluster/contract/limits";
import type { Reader } from "../core/visibility.ts";

const { streamsMax, streamsOfUserMax, streamsReserved } = LIMITS;
const UNRESERVED = streamsMax - streamsReserved;

export class Shares {
  private readonly byUser = new Map<string, number>();
  private open = 0;
  /** Of those who do not see everything. */
  private openBelow = 0;

  /** Why this reader may not open another one, in words. */
  refusal({ user, all }: Reader): string | undefined {
    if (this.open >= streamsMax) return `${streamsMax} streams are open; close one.`;
    const ofUserMax = all ? UNRESERVED : streamsOfUserMax;
    if ((this.byUser.get(user) ?? 0) >= ofUserMax) return `${ofUserMax} streams of ${user} are open; close one.`;
    if (!all && this.openBelow >= UNRESERVED) return `${UNRESERVED} streams are open; the rest is kept for operators.`;
    return undefined;
  }

  take({ user, all }: Reader): { giveBack(): void } {
    this.count(user, all, 1);
    return { giveBack: () => this.count(user, all, -1) };
  }

  private count(user: string, all: boolean, by: 1 | -1): void {
    this.open += by;
    if (!all) this.openBelow += by;
    const rest = (this.byUser.get(user) ?? 0) + by;
    if (rest === 0) this.byUser.delete(user);
    else this.byUser.set(user, rest);
  }
}
