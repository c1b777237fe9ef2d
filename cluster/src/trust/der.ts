/**
 * Writes DER (X.690), the form in which a certificate is signed: each value as a tag, a length and its content. As much of it as
 * trust/certificate.ts needs. It never reads any: what comes from elsewhere is OpenSSL's to read.
 */
export type Der = Uint8Array;

const TAG = { boolean: 0x01, integer: 0x02, bits: 0x03, octets: 0x04, oid: 0x06, utf8: 0x0c, utcTime: 0x17, longTime: 0x18 } as const;
const SEQUENCE = 0x30;
const SET = 0x31;
const CONTEXT = 0x80;
const CONSTRUCTED = 0x20;

export const sequence = (...parts: readonly Der[]): Der => value(SEQUENCE, Buffer.concat(parts));
export const setOf = (part: Der): Der => value(SET, part);
/** `[n]` around another value, or in the place of its tag. */
export const explicit = (n: number, part: Der): Der => value(CONTEXT | CONSTRUCTED | n, part);
export const implicit = (n: number, content: Uint8Array): Der => value(CONTEXT | n, content);

export const yes = (): Der => value(TAG.boolean, Uint8Array.of(0xff));
export const octets = (content: Uint8Array): Der => value(TAG.octets, content);
export const text = (content: string): Der => value(TAG.utf8, Buffer.from(content, "utf8"));

/** A number that is not negative, most significant byte first. */
export function integer(bytes: Uint8Array): Der {
  const from = bytes.findIndex((byte) => byte !== 0);
  const short = from < 0 ? Uint8Array.of(0) : bytes.subarray(from);
  // A first bit that is set would make it negative.
  return value(TAG.integer, (short[0] ?? 0) < 0x80 ? short : Buffer.concat([Uint8Array.of(0), short]));
}

/** `unused`: bits of the last byte that do not count. */
export const bits = (content: Uint8Array, unused = 0): Der => value(TAG.bits, Buffer.concat([Uint8Array.of(unused), content]));

/** `1.2.840.10045.4.3.2` */
export function oid(dotted: string): Der {
  const [first = 0, second = 0, ...rest] = dotted.split(".").map(Number);
  return value(TAG.oid, Uint8Array.from([first * 40 + second, ...rest].flatMap(sevenBits)));
}

/** X.509 writes years from 2050 on in another way. */
export function time(at: number): Der {
  const digits = `${new Date(at).toISOString().replaceAll(/[-:T]|\..*/g, "")}Z`;
  const isLong = new Date(at).getUTCFullYear() >= 2050;
  return isLong ? value(TAG.longTime, Buffer.from(digits)) : value(TAG.utcTime, Buffer.from(digits.slice(2)));
}

function value(tag: number, content: Uint8Array): Der {
  return Buffer.concat([Uint8Array.of(tag), lengthOf(content.length), content]);
}

function lengthOf(length: number): Uint8Array {
  if (length < 0x80) return Uint8Array.of(length);
  const bytes: number[] = [];
  for (let rest = length; rest > 0; rest >>>= 8) bytes.unshift(rest & 0xff);
  return Uint8Array.from([0x80 | bytes.length, ...bytes]);
}

/** Of each byte but the last the first bit is set. */
function sevenBits(number: number): number[] {
  const bytes = [number & 0x7f];
  for (let rest = number >>> 7; rest > 0; rest >>>= 7) bytes.unshift((rest & 0x7f) | 0x80);
  return bytes;
}
