/**
 * Short names by chance, for what people read, type and see in lists: tokens, invitations, clusters.
 *
 * R1. Each letter is as likely as any other: there are 32 of them, and a byte has eight times as many values.
 * R2. A name is no secret. 8 letters are 40 bits: enough not to meet twice, too few to guard anything.
 */
import { randomBytes } from "node:crypto";

const LETTERS = "abcdefghijklmnopqrstuvwxyz234567";
const CHARS = 8;

/** Of `a-z` and `2-7`. */
export function randomId(chars: number = CHARS): string {
  return Array.from(randomBytes(chars), (byte) => LETTERS[byte % LETTERS.length]).join("");
}
