/**
 * What is wrong with a message: a value that was well is changed in one or two places (missing, more, another type, at and beyond its
 * limits, hostile words), and its text on the way (doubled keys, numbers that JSON does not have, depth, broken UTF-8).
 *
 * M1. A change names its place by a number, so that fast-check can make it smaller and repeat it.
 */
import { gzipSync } from "node:zlib";
import fc from "fast-check";

/** Words that mean something somewhere: to JavaScript, to a file system, to SQL, to a screen. */
const WORDS = [
  ...["", " ", "\0", "a\0b", "\ud800", "\udfff\ud800", "\u202e", "\u001b[2J", "\r\nX: y", "💥".repeat(70), "x".repeat(300)],
  ...["__proto__", "constructor", "prototype", "toString", "hasOwnProperty", "then", "toJSON", "length"],
  ...["../../etc/passwd", "C:\\CON", "%00", "%2e%2e%2f", "'; DROP TABLE task;--", '"', "$ne", "*", ">", "ocx.down.one.control", "a.b"],
  ...["NaN", "Infinity", "null", "undefined", "1e308", "-1", "0x10", "t0", "t1", "t999999999999999", "9".repeat(40)],
] as const;
const NUMBERS = [0, -0, -1, 0.5, 1e21, 1e308, -1e308, 2 ** 31, 2 ** 53, Number.MAX_SAFE_INTEGER, Number.MIN_SAFE_INTEGER, 5e-324] as const;
const SHAPES = [
  null,
  true,
  [],
  {},
  [[]],
  [null],
  { length: 1e9 },
  { constructor: { prototype: { polluted: 1 } } },
  { prototype: { polluted: 1 } },
  JSON.parse('{"toJSON":1,"then":1}') as unknown,
  { toString: null },
] as const;
/** Of texts and lists: around the limits that there are, and far beyond them. */
const LENGTHS = [33, 64, 65, 128, 129, 256, 257, 513, 1_001, 4_097, 32_769, 262_145] as const;
const DEPTHS = [190, 200, 201, 1_000] as const;

const junk = fc.oneof(
  fc.constantFrom<unknown[]>(...WORDS),
  fc.constantFrom<unknown[]>(...NUMBERS),
  fc.constantFrom<unknown[]>(...SHAPES),
  fc.jsonValue({ maxDepth: 2 }),
);

export interface Mutation {
  readonly kind: "drop" | "add" | "replace" | "wrap" | "stretch" | "nest" | "negate";
  readonly at: number;
  readonly key: string;
  readonly value: unknown;
  readonly size: number;
}

export const mutations: fc.Arbitrary<readonly Mutation[]> = fc.oneof(
  { weight: 1, arbitrary: fc.constant([]) },
  {
    weight: 1,
    arbitrary: fc.array(
      fc.record({
        kind: fc.constantFrom<Mutation["kind"]>("drop", "add", "replace", "replace", "replace", "wrap", "stretch", "nest", "negate"),
        at: fc.nat(99),
        key: fc.constantFrom<string>(...WORDS),
        value: junk,
        size: fc.nat(LENGTHS.length - 1),
      }),
      { minLength: 1, maxLength: 2 },
    ),
  },
);

/** The value itself stays as it is. */
export function mutate(value: unknown, changes: readonly Mutation[]): unknown {
  const root = { value: structuredClone(value) };
  for (const change of changes) apply(root, change);
  return root.value;
}

type Container = Record<string, unknown>;

function apply(root: { value: unknown }, { kind, at, key, value: given, size }: Mutation): void {
  const value = structuredClone(given);
  const places = placesIn(root as Container);
  const place = places[at % places.length];
  if (place === undefined) return;
  const [parent, name] = place;
  const old = parent[name];
  switch (kind) {
    case "drop":
      if (Array.isArray(parent)) parent.splice(Number(name), 1);
      else delete parent[name];
      return;
    case "add":
      if (Array.isArray(old)) old.push(value);
      // `__proto__` by assignment would set the prototype instead.
      else if (typeof old === "object" && old !== null)
        Object.defineProperty(old, key, { value, enumerable: true, configurable: true, writable: true });
      return;
    case "replace":
      parent[name] = value;
      return;
    case "wrap":
      parent[name] = [old];
      return;
    case "stretch":
      parent[name] = stretched(old, LENGTHS[size] as number);
      return;
    case "nest":
      parent[name] = nested(DEPTHS[size % DEPTHS.length] as number);
      return;
    case "negate":
      parent[name] = typeof old === "number" ? (NUMBERS[size % NUMBERS.length] as number) : typeof old === "boolean" ? !old : value;
      return;
  }
}

/** Every value in it, the whole first, by the object that holds it. */
function placesIn(parent: Container): [Container, string][] {
  return Object.entries(parent).flatMap(([name, value]): [Container, string][] => [
    [parent, name],
    ...(typeof value === "object" && value !== null ? placesIn(value as Container) : []),
  ]);
}

function stretched(old: unknown, length: number): unknown {
  // A list of large things would only be refused for its size.
  if (Array.isArray(old)) return Array.from({ length: Math.min(length, 1_001) }, (_, n) => old[0] ?? n);
  if (typeof old === "object") return Object.fromEntries(Array.from({ length: Math.min(length, 513) }, (_, n) => [`k${n}`, "v"]));
  return (typeof old === "string" && old !== "" ? old : "x").slice(0, 100).repeat(length).slice(0, length);
}

function nested(depth: number): unknown {
  let value: unknown = 1;
  for (let level = 0; level < depth; level += 1) value = level % 2 === 0 ? [value] : { a: value };
  return value;
}

/** The first value in an object that is no object and no list, in JSON's text. */
const FIRST_VALUE = /:(-?[\d.e+-]+|"[^"]*"|null|true|false)/;
const withFirst = (text: string, value: string): Buffer => Buffer.from(text.replace(FIRST_VALUE, `:${value}`));

/** JSON's text as it is, or what JSON.stringify would never write. */
const TEXTS = {
  plain: (text: string) => Buffer.from(text),
  proto: (text: string) => Buffer.from(text.replace("{", '{"__proto__":{"polluted":1},')),
  constructor: (text: string) => Buffer.from(text.replace("{", '{"constructor":{"prototype":{"polluted":1}},')),
  doubled: (text: string) => Buffer.from(text.replace(/^\{("[^"]*"):/, "{$1:null,$1:")),
  notANumber: (text: string) => withFirst(text, "NaN"),
  infinite: (text: string) => withFirst(text, "1e999"),
  digits: (text: string) => withFirst(text, "9".repeat(400)),
  deepArray: (text: string) => withFirst(text, `${"[".repeat(1e5)}${"]".repeat(1e5)}`),
  deepObject: (text: string) => withFirst(text, `${'{"a":'.repeat(1e5)}1${"}".repeat(1e5)}`),
  open: () => Buffer.from("[".repeat(1e5)),
  cut: (text: string) => Buffer.from(text.slice(0, Math.floor(text.length / 2))),
  after: (text: string) => Buffer.from(`${text} {}`),
  mark: (text: string) => Buffer.from(`\ufeff${text}`),
  notUtf8: (text: string) => Buffer.concat([Buffer.from(text.slice(0, -1)), Buffer.from([0x22, 0xff, 0xc0, 0xaf, 0x22]), Buffer.from("}")]),
  utf16: (text: string) => Buffer.from(text, "utf16le"),
  zipped: (text: string) => gzipSync(text),
  spaced: (text: string) => Buffer.from(`${" ".repeat(100_000)}${text}`),
  empty: () => Buffer.alloc(0),
  bytes: () => Buffer.from(Array.from({ length: 300 }, (_, n) => (n * 151) % 256)),
} as const satisfies Record<string, (text: string) => Buffer>;

export type TextForm = keyof typeof TEXTS;

export const textForms: fc.Arbitrary<TextForm> = fc.oneof(
  { weight: 4, arbitrary: fc.constant<TextForm>("plain") },
  { weight: 1, arbitrary: fc.constantFrom(...(Object.keys(TEXTS) as TextForm[])) },
);

/** What is no JSON at all, as undefined, is nothing on the wire. */
export function bytesOf(value: unknown, form: TextForm): Buffer {
  return TEXTS[form](JSON.stringify(value) ?? "");
}
