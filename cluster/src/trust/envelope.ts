/**
 * The form of a signed message: one line that says who speaks to whom, and what comes before it, then the body. It is bytes
 * around bytes: nothing in the body is read before the signature has been found good.
 *
 *   m <sender's life> <number> <receiver's life, or -> <signature>   a message; its subject is signed too
 *   a <sender's life> <signature>                                    the answer to one message, which is signed too
 *   c <sender's life> <signature>                                    instead of an answer: say it again, to this life of mine
 *
 * E1. What is signed holds everything that says what the body means: kind, both ends, subject, lives, number, and the SHA-256
 *     of the body. A part of one message is of no use in another.
 * E2. A life is the time from one opening of a party's bus to its end, named by random bits: no clock tells when a message is
 *     too old, since the clocks of people's machines differ. To another life of its receiver it means nothing.
 */
import { hash, randomBytes } from "node:crypto";
import type { Sign, Verify } from "./signature.ts";

/** 96 random bits, base64url. */
export type Life = string;

/** Of one message; unique in the life of its sender. */
export interface Stamp {
  readonly life: Life;
  readonly number: number;
}

export type Line =
  | { readonly kind: "m"; readonly life: Life; readonly number: number; readonly toLife: Life | undefined }
  | { readonly kind: "a" | "c"; readonly life: Life };

/** Everything that is signed but the line and the body. */
export interface Matter {
  readonly from: string;
  readonly to: string;
  /** Of a message: its subject. Of an answer: what it answers. */
  readonly about: string | Stamp;
}

export interface Opened {
  readonly line: Line;
  readonly body: Uint8Array;
  /** Has the holder of this key signed it, as this matter? */
  isSigned(publicKey: string, matter: Matter, verify: Verify): boolean;
}

/** The longest line there is, its end included. */
export const LINE_BYTES_MAX = 160;
const LINE =
  /^(?:m (?<life>[\w-]{16}) (?<number>[1-9]\d{0,15}) (?<toLife>[\w-]{16}|-)|(?<kind>[ac]) (?<answering>[\w-]{16})) (?<signature>[\w-]{86})$/;

export function newLife(): Life {
  return randomBytes(12).toString("base64url");
}

export function seal(line: Line, matter: Matter, body: Uint8Array, sign: Sign): Buffer {
  const said = textOf(line);
  const signature = sign(words(said, matter, body)).toString("base64url");
  return Buffer.concat([Buffer.from(`${said} ${signature}\n`), body]);
}

/** undefined: not of this form. Nothing is believed yet. */
export function openSeal(bytes: Uint8Array): Opened | undefined {
  const end = bytes.subarray(0, LINE_BYTES_MAX).indexOf(10);
  if (end === -1) return undefined;
  const found = LINE.exec(Buffer.from(bytes.buffer, bytes.byteOffset, end).toString("latin1"))?.groups;
  if (found === undefined) return undefined;
  const { life, number, toLife, kind, answering, signature } = found;
  const line: Line =
    kind === undefined
      ? { kind: "m", life: life as Life, number: Number(number), toLife: toLife === "-" ? undefined : toLife }
      : { kind: kind as "a" | "c", life: answering as Life };
  const body = bytes.subarray(end + 1);
  return {
    line,
    body,
    isSigned: (publicKey, matter, verify) =>
      verify(publicKey, words(textOf(line), matter, body), Buffer.from(signature as string, "base64url")),
  };
}

function textOf(line: Line): string {
  return line.kind === "m" ? `m ${line.life} ${line.number} ${line.toLife ?? "-"}` : `${line.kind} ${line.life}`;
}

/** E1. None of them holds a space or a line's end, so that no two matters give the same words. */
function words(line: string, { from, to, about }: Matter, body: Uint8Array): Buffer {
  const subject = typeof about === "string" ? about : `${about.life} ${about.number}`;
  return Buffer.from(`openclaw-cluster\n${from} ${to}\n${subject}\n${line}\n${hash("sha256", body, "base64url")}`);
}
