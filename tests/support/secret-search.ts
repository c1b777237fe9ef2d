/**
 * Looks for secrets in bytes, in whatever form somebody may have written them down: as they are, in JSON, in JSON within
 * JSON, in an address, in hexadecimal digits, in base64 at any alignment, in UTF-16.
 *
 * S1. A secret is looked for in halves, so that one that was cut off still shows.
 * S2. What has the form of a token or of a key's seed is found, too: so show secrets that no test can know, as the keys that
 *     live in a daemon's memory only.
 */
import { readdirSync, readFileSync, statSync } from "node:fs";
import path from "node:path";

export interface Secret {
  readonly name: string;
  readonly value: string | Uint8Array;
}

/** Where something was looked for. */
export interface Place {
  readonly name: string;
  readonly bytes: Buffer;
}

/** The secret's name, and how it was written. */
type Finding = string;

interface Needle {
  readonly finding: Finding;
  readonly bytes: Buffer;
}

const SHAPES: readonly (readonly [finding: Finding, form: RegExp])[] = [
  ["an API token by its form", /occ_[a-z2-7]{8}_[A-Za-z0-9_-]{43}/],
  ["a join code by its form", /ocj1_[A-Za-z0-9_-]{40}/],
  ["a seed by its form", /S[UAONC][A-Z2-7]{56}/],
  ["a private key by its form", /BEGIN [A-Z ]*PRIVATE KEY/],
];

export type Search = (bytes: Buffer) => Finding[];

export function searchFor(secrets: readonly Secret[]): Search {
  const needles = secrets.flatMap(needlesOf);
  return (bytes) => {
    const known = needles.filter((needle) => bytes.includes(needle.bytes)).map(({ finding }) => finding);
    const text = bytes.toString("latin1");
    return [...new Set([...known, ...SHAPES.filter(([, form]) => form.test(text)).map(([finding]) => finding)])];
  };
}

function needlesOf({ name, value }: Secret): Needle[] {
  const whole = Buffer.from(value as Uint8Array);
  const middle = Math.ceil(whole.length / 2);
  const found = new Map<string, Needle>();
  for (const half of [whole.subarray(0, middle), whole.subarray(middle)]) {
    for (const [form, bytes] of formsOf(half)) {
      const key = bytes.toString("latin1");
      if (!found.has(key)) found.set(key, { finding: `${name}, ${form}`, bytes });
    }
  }
  return [...found.values()];
}

function* formsOf(half: Buffer): Generator<[form: string, bytes: Buffer]> {
  const text = half.toString("latin1");
  const inJson = (plain: string): string => JSON.stringify(plain).slice(1, -1);
  yield ["as it is", half];
  yield ["in JSON", Buffer.from(inJson(text))];
  yield ["in JSON within JSON", Buffer.from(inJson(inJson(text)))];
  yield ["in an address", Buffer.from(encodeURIComponent(text))];
  yield ["in a form", Buffer.from(new URLSearchParams([["", text]]).toString().slice(1))];
  yield ["in UTF-16", Buffer.from(text, "utf16le")];
  yield ["in hexadecimal", Buffer.from(half.toString("hex"))];
  yield ["in hexadecimal capitals", Buffer.from(half.toString("hex").toUpperCase())];
  for (const alphabet of ["base64", "base64url"] as const) {
    for (const before of [0, 1, 2]) yield [`in ${alphabet}`, Buffer.from(within(alphabet, half, before))];
  }
}

/** The characters that a half gives by itself, whatever stands before it and after it. */
function within(alphabet: "base64" | "base64url", half: Buffer, before: number): string {
  const [bitsBefore, bits] = [before * 8, (before + half.length) * 8];
  return Buffer.concat([Buffer.alloc(before), half])
    .toString(alphabet)
    .slice(Math.ceil(bitsBefore / 6), Math.floor(bits / 6));
}

/** Every file below the folder; one that goes meanwhile is left out. */
export function filesBelow(folder: string): string[] {
  return readdirSync(folder, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile())
    .map((entry) => path.join(entry.parentPath, entry.name));
}

/** Nothing where the file, or the process, has gone. */
export function bytesOf(file: string): Buffer {
  try {
    return readFileSync(file);
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    if (code === "ENOENT" || code === "ESRCH") return Buffer.alloc(0);
    throw error;
  }
}

/** The last three digits of its rights, as 600. */
export function rightsOf(file: string): string {
  return (statSync(file).mode & 0o777).toString(8);
}
