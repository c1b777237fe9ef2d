/**
 * Which versions of the words between machines a build speaks, so that machines can be updated one at a time, in any order.
 *
 * P1. What is added to a message is optional, and whoever does not know it passes it over: that needs no new version. A version is
 *     for a change that the other side must know of. A build speaks at least the version before its newest one as well.
 * P2. Each side says what it speaks, and the newest that both do counts. Where there is none, no work is given or taken, and both
 *     say which of them to update.
 * P3. Who says nothing speaks the first.
 */
import { z } from "zod";

export const Protocol = z.object({ oldest: z.int().min(1), newest: z.int().min(1) });
export type Protocol = z.infer<typeof Protocol>;

/** Of this build. 2: an attempt can end with the errors of tasks of kind `model` (core/older-words.ts). */
export const PROTOCOL: Protocol = { oldest: 1, newest: 2 };

const FIRST: Protocol = { oldest: 1, newest: 1 };

/** The version that the two speak with each other; undefined: none. */
export function spoken(a: Protocol, b: Protocol = FIRST): number | undefined {
  const newest = Math.min(a.newest, b.newest);
  return newest >= Math.max(a.oldest, b.oldest) ? newest : undefined;
}

/** Which of two that speak no version together is behind. */
export function isOlder(a: Protocol, b: Protocol = FIRST): boolean {
  return a.newest < b.newest;
}

export function protocolText({ oldest, newest }: Protocol = FIRST): string {
  return oldest === newest ? `version ${newest} of the cluster's protocol` : `versions ${oldest} to ${newest} of the cluster's protocol`;
}
