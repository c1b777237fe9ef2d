/**
 * Writes GGUF version 3, the file format of llama.cpp's models: a header, keys with values, a table of tensors, and the
 * tensors' numbers. Everything is little endian, and nothing but what our test models need is supported.
 *
 * G1. The same keys and numbers give the same bytes.
 * G2. One tensor at a time is in memory: a model for a realistic pace is larger than what a test should hold.
 */
import { closeSync, openSync, writeSync } from "node:fs";

export type GgufKey = readonly [name: string, ...value: GgufValue];

type GgufValue =
  | readonly [type: "u32" | "f32", value: number]
  | readonly [type: "bool", value: boolean]
  | readonly [type: "string", value: string]
  | readonly [type: "strings", value: readonly string[]]
  | readonly [type: "f32s" | "i32s", value: readonly number[]];

export interface GgufTensor {
  readonly name: string;
  /** Of a matrix first the length of a row, which lies in one piece, then the number of rows. */
  readonly shape: readonly number[];
  readonly type: "f32" | "f16";
  /** Called once, when its turn has come. */
  numbers(): Float32Array;
}

const VERSION = 3;
/** Where each tensor begins; the value of the key general.alignment. */
export const ALIGNMENT_BYTES = 32;
/** The format's own numbers for the types of values and of tensors. */
const VALUE = { u32: 4, i32: 5, f32: 6, bool: 7, string: 8, array: 9 } as const;
const TENSOR = { f32: 0, f16: 1 } as const;
const BYTES_PER_NUMBER = { f32: 4, f16: 2 } as const;

export function writeGguf(path: string, keys: readonly GgufKey[], tensors: readonly GgufTensor[]): void {
  const file = openSync(path, "wx");
  try {
    writeAll(file, header(keys, tensors));
    for (const tensor of tensors) writeAll(file, padded(numbersOf(tensor)));
  } finally {
    closeSync(file);
  }
}

function header(keys: readonly GgufKey[], tensors: readonly GgufTensor[]): Buffer {
  const parts = [Buffer.from("GGUF"), u32(VERSION), u64(tensors.length), u64(keys.length)];
  for (const [name, ...value] of keys) parts.push(string(name), ...valueOf(value));
  let offset = 0;
  for (const { name, shape, type } of tensors) {
    parts.push(string(name), u32(shape.length), ...shape.map(u64), u32(TENSOR[type]), u64(offset));
    offset += aligned(shape.reduce((product, length) => product * length, BYTES_PER_NUMBER[type]));
  }
  return padded(Buffer.concat(parts));
}

function valueOf([type, value]: GgufValue): Buffer[] {
  switch (type) {
    case "u32":
      return [u32(VALUE.u32), u32(value)];
    case "f32":
      return [u32(VALUE.f32), f32(value)];
    case "bool":
      return [u32(VALUE.bool), Buffer.of(value ? 1 : 0)];
    case "string":
      return [u32(VALUE.string), string(value)];
    case "strings":
      return array(VALUE.string, value.map(string));
    case "f32s":
      return array(VALUE.f32, value.map(f32));
    case "i32s":
      return array(VALUE.i32, value.map(i32));
  }
}

function array(elementType: number, elements: readonly Buffer[]): Buffer[] {
  return [u32(VALUE.array), u32(elementType), u64(elements.length), ...elements];
}

function numbersOf({ name, shape, type, numbers }: GgufTensor): Buffer {
  const values = numbers();
  const count = shape.reduce((product, length) => product * length, 1);
  if (values.length !== count) throw new Error(`${name} has ${values.length} numbers; its shape says ${count}`);
  // Every machine that Node runs on is little endian.
  const stored = type === "f32" ? values : new Float16Array(values);
  return Buffer.from(stored.buffer, stored.byteOffset, stored.byteLength);
}

const aligned = (bytes: number): number => Math.ceil(bytes / ALIGNMENT_BYTES) * ALIGNMENT_BYTES;

function padded(bytes: Buffer): Buffer {
  const missing = aligned(bytes.length) - bytes.length;
  return missing === 0 ? bytes : Buffer.concat([bytes, Buffer.alloc(missing)]);
}

function string(text: string): Buffer {
  const bytes = Buffer.from(text, "utf8");
  return Buffer.concat([u64(bytes.length), bytes]);
}

function u32(value: number): Buffer {
  const bytes = Buffer.alloc(4);
  bytes.writeUInt32LE(value);
  return bytes;
}

function i32(value: number): Buffer {
  const bytes = Buffer.alloc(4);
  bytes.writeInt32LE(value);
  return bytes;
}

function u64(value: number): Buffer {
  const bytes = Buffer.alloc(8);
  bytes.writeBigUInt64LE(BigInt(value));
  return bytes;
}

function f32(value: number): Buffer {
  const bytes = Buffer.alloc(4);
  bytes.writeFloatLE(value);
  return bytes;
}

function writeAll(file: number, bytes: Buffer): void {
  for (let at = 0; at < bytes.length;) at += writeSync(file, bytes, at);
}
