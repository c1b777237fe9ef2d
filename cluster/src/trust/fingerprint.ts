/**
 * A key in a form that two people can compare, one at each machine: `K7QW-JM2A-…`, 100 bits of its SHA-256. Whoever wants another
 * key to be taken for it would have to try 2^100 of them.
 */
import { hash } from "node:crypto";

const LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567";
const BITS = 5;
const GROUP_CHARS = 4;
const GROUPS = 5;

/** `publicKey`: `U…`. */
export function fingerprintOf(publicKey: string): string {
  const digest = hash("sha256", `openclaw-cluster key\n${publicKey}`, "buffer");
  const letterAt = (index: number): string =>
    LETTERS[(digest.readUInt16BE((index * BITS) >> 3) >> (16 - BITS - ((index * BITS) & 7))) & 31] ?? "";
  const group = (at: number): string => Array.from({ length: GROUP_CHARS }, (_, index) => letterAt(at * GROUP_CHARS + index)).join("");
  return Array.from({ length: GROUPS }, (_, at) => group(at)).join("-");
}
