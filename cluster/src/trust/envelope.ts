/**
 * The form of a sealed message: one line that says who speaks to whom and proves it, then the body. It is bytes around bytes:
 * nothing in the body is read before the proof has been found good.
 *
 *   h <sender's life> <number> <receiver's life, or -> <signature>   a message with which its sender shows itself
 *   m <sender's life> <number> <receiver's life> <mac>               a message between two lives that know each other
 *   a <sender's life> <mac>                                          the answer to one message
 *   c <sender's life> <signature>                                    in its place: this is my life, show yourself to it
 *
 * E1. What is proven holds everything that says what the body means: kind, both ends, subject, lives, number, and the SHA-256
 *     of the body. A part of one message is of no use in another.
 * E2. To another life of its receiver a message means nothing. No clock tells when one is too old, since the clocks of people's
 *     machines differ.
 */
import { hash } from "node:crypto";
import type { Life } from "./life.ts";

/** Of one message; unique in the life of its sender. */
export interface Stamp {
  readonly life: Life;
  readonly number: number;
}

export type Line =
  | { readonly kind: "h"; readonly life: Life; readonly number: number; readonly toLife: Life | undefined }
  | { readonly kind: "m"; readonly life: Life; readonly number: number; readonly toLife: Life }
  | { readonly kind: "a" | "c"; readonly life: Life };

/** Everything that is proven but the line and the body. */
export interface Matter {
  readonly from: string;
  readonly to: string;
  /** Of a message: its subject. Of what comes back: what it answers. */
  readonly about: string | Stamp;
}

export interface Opened {
  readonly line: Line;
  readonly body: Uint8Array;
  isProven(matter: Matter, check: (words: Uint8Array, proof: Uint8Array) => boolean): boolean;
}

/** The longest line there is, its end included. */
export const LINE_BYTES_MAX = 194;
const LIFE = "[\\w-]{43}";
const LINE = new RegExp(
  `^(?:h (?<shown>${LIFE}) (?<first>[1-9]\\d{0,15}) (?<toShown>${LIFE}|-)|m (?<life>${LIFE}) (?<number>[1-9]\\d{0,15}) (?<toLife>${LIFE})` +
    `|(?<kind>[ac]) (?<back>${LIFE})) (?<proof>[\\w-]{43}|[\\w-]{86})$`,
);

/** `prove`: 64 bytes of a signature, or 32 of an HMAC. */
export function seal(line: Line, matter: Matter, body: Uint8Array, prove: (words: Uint8Array) => Buffer): Buffer {
  const said = textOf(line);
  const proof = prove(words(said, matter, body)).toString("base64url");
  return Buffer.concat([Buffer.from(`${said} ${proof}\n`), body]);
}

/** undefined: not of this form. Nothing is believed yet. */
export function openSeal(bytes: Uint8Array): Opened | undefined {
  const end = bytes.subarray(0, LINE_BYTES_MAX).indexOf(10);
  if (end === -1) return undefined;
  const found = LINE.exec(Buffer.from(bytes.buffer, bytes.byteOffset, end).toString("latin1"))?.groups;
  if (found === undefined) return undefined;
  const line = lineOf(found);
  const body = bytes.subarray(end + 1);
  const proof = Buffer.from(found["proof"] as string, "base64url");
  // The last letter has bits that say nothing: there is one way to write a proof.
  if (proof.toString("base64url") !== found["proof"]) return undefined;
  return { line, body, isProven: (matter, check) => check(words(textOf(line), matter, body), proof) };
}

function lineOf(found: Readonly<Record<string, string | undefined>>): Line {
  const { shown, first, toShown, life, number, toLife, kind, back } = found;
  if (shown !== undefined) return { kind: "h", life: shown, number: Number(first), toLife: toShown === "-" ? undefined : toShown };
  if (life !== undefined) return { kind: "m", life, number: Number(number), toLife: toLife as Life };
  return { kind: kind as "a" | "c", life: back as Life };
}

function textOf(line: Line): string {
  const isMessage = line.kind === "h" || line.kind === "m";
  return isMessage ? `${line.kind} ${line.life} ${line.number} ${line.toLife ?? "-"}` : `${line.kind} ${line.life}`;
}

/** E1. None of them holds a space or a line's end, so that no two matters give the same words. */
function words(line: string, { from, to, about }: Matter, body: Uint8Array): Buffer {
  const subject = typeof about === "string" ? about : `${about.life} ${about.number}`;
  return Buffer.from(`openclaw-cluster\n${from} ${to}\n${subject}\n${line}\n${hash("sha256", body, "base64url")}`);
}
