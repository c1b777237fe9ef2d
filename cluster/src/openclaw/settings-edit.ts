/**
 * Changes one member of OpenClaw's settings file in its text, so that comments, order and blanks of all else stay.
 *
 * E1. What is taken out after it was put in leaves the text as it was, byte for byte; only blanks in an object that was empty may be fewer.
 * E2. The new text is read again and compared: if it says anything else than wished, nothing is changed.
 */
import { isDeepStrictEqual } from "node:util";
import { parseSettings } from "./settings-text.ts";

interface Member {
  readonly name: string;
  readonly from: number;
  readonly value: Value;
}
interface Value {
  readonly from: number;
  readonly to: number;
  /** undefined: no object. */
  readonly members?: readonly Member[];
}

export type Path = readonly [string, ...string[]];
export type Edited = { readonly kind: "edited"; readonly text: string } | { readonly kind: "refused"; readonly reason: string };

/** `value` undefined: to be taken out; so are objects on its way that are empty then, as many as `emptied`. */
export function editSettings(text: string, path: Path, value: unknown, emptied = 0): Edited {
  const before = parsed(text);
  if (!isObject(before)) return { kind: "refused", reason: "it is neither JSON nor JSON5" };
  const wished = structuredClone(before);
  const way = value === undefined ? taken(wished, path, emptied) : put(wished, path, value);
  if (way === undefined) return { kind: "refused", reason: `${path.slice(0, -1).join(".")} is no object in it` };
  const after = value === undefined ? without(text, way) : withMember(text, path, value);
  if (after === undefined || !isDeepStrictEqual(parsed(after), wished))
    return { kind: "refused", reason: "it is written in a way that cannot be changed without harm" }; // E2
  return { kind: "edited", text: after };
}

function parsed(text: string): unknown {
  try {
    return parseSettings(text);
  } catch {
    return undefined;
  }
}

const isObject = (value: unknown): value is Record<string, unknown> => typeof value === "object" && value !== null && !Array.isArray(value);

/** undefined: there is something else on its way. */
function put(root: Record<string, unknown>, path: Path, value: unknown): Path | undefined {
  let at = root;
  for (const name of path.slice(0, -1)) {
    const next = (at[name] ??= {});
    if (!isObject(next)) return undefined;
    at = next;
  }
  at[path.at(-1) as string] = value;
  return path;
}

/** What is to be taken out in the end. */
function taken(root: Record<string, unknown>, path: Path, emptied: number): Path | undefined {
  const objects = [root];
  for (const name of path.slice(0, -1)) {
    const next = objects.at(-1)?.[name];
    if (!isObject(next)) return undefined;
    objects.push(next);
  }
  let depth = path.length - 1;
  const drop = (): void => void delete objects[depth]?.[path[depth] as string];
  drop();
  for (let left = emptied; left > 0 && depth > 0 && Object.keys(objects[depth] ?? {}).length === 0; left--) {
    depth--;
    drop();
  }
  return path.slice(0, depth + 1) as unknown as Path;
}

const LINE_END = /\r?\n/;
const BLANKS = /^[ \t]*$/;

function withMember(text: string, path: Path, value: unknown): string | undefined {
  let object = readValue(text);
  for (const [depth, name] of path.entries()) {
    if (object?.members === undefined) return undefined;
    const found: Member | undefined = object.members.findLast((member) => member.name === name);
    if (found === undefined) return inserted(text, object, name, nested(path.slice(depth + 1), value));
    if (depth === path.length - 1) {
      const style = styleOf(text, object);
      return text.slice(0, found.value.from) + printed(value, style) + text.slice(found.value.to);
    }
    object = found.value;
  }
  return undefined;
}

const nested = (names: readonly string[], value: unknown): unknown => names.reduceRight((inner, name) => ({ [name]: inner }), value);

interface Style {
  /** Before a member of this object; undefined: all on one line. */
  readonly indent: string | undefined;
  readonly unit: string;
  readonly lineEnd: string;
}

function styleOf(text: string, { from, to, members = [] }: Value): Style {
  const lineEnd = text.includes("\r\n") ? "\r\n" : "\n";
  const unit = /^([ \t]+)\S/m.exec(text)?.[1] ?? "  ";
  const own = members.map((member) => lineStart(text, member.from)).find((start) => BLANKS.test(start));
  const isEmpty = members.length === 0;
  const indent = isEmpty
    ? indentOf(text, from) + unit
    : LINE_END.test(text.slice(from, to))
      ? (own ?? indentOf(text, from) + unit)
      : undefined;
  return { indent, unit, lineEnd };
}

const lineStart = (text: string, at: number): string => text.slice(text.lastIndexOf("\n", at - 1) + 1, at);
const indentOf = (text: string, at: number): string => /^[ \t]*/.exec(lineStart(text, at))?.[0] ?? "";

function printed(value: unknown, { indent, unit, lineEnd }: Style): string {
  return indent === undefined ? JSON.stringify(value) : JSON.stringify(value, null, unit).replaceAll("\n", `${lineEnd}${indent}`);
}

/** Behind all others: OpenClaw takes the first provider where none is named. */
function inserted(text: string, object: Value, name: string, value: unknown): string {
  const style = styleOf(text, object);
  const { indent, lineEnd, unit } = style;
  const member = `${JSON.stringify(name)}: ${printed(value, style)}`;
  const last = object.members?.at(-1);
  if (last === undefined) {
    const inside = text.slice(object.from + 1, object.to - 1);
    const head = /\S/.test(inside) ? inside.trimEnd() : "";
    const outer = (indent ?? "").slice(0, -unit.length || undefined);
    return `${text.slice(0, object.from + 1)}${head}${lineEnd}${indent}${member}${lineEnd}${outer}${text.slice(object.to - 1)}`;
  }
  const comma = commaAfter(text, last.value.to);
  if (indent === undefined) return splice(text, comma ?? last.value.to, comma === undefined ? `, ${member}` : ` ${member},`);
  // What is said of the last one on its line stays with it.
  const after = comma ?? last.value.to;
  const [remark = ""] = /^[ \t]*(\/\/[^\r\n]*|\/\*[^\r\n]*?\*\/)/.exec(text.slice(after)) ?? [];
  const line = `${lineEnd}${indent}${member}`;
  if (comma !== undefined) return splice(text, after + remark.length, `${line},`);
  return splice(splice(text, after + remark.length, line), last.value.to, ",");
}

const splice = (text: string, at: number, piece: string): string => text.slice(0, at) + piece + text.slice(at);

function without(text: string, path: Path): string | undefined {
  let object = readValue(text);
  for (const [depth, name] of path.entries()) {
    const at: number = object?.members?.findLastIndex((member) => member.name === name) ?? -1;
    const member: Member | undefined = object?.members?.[at];
    if (object?.members === undefined || member === undefined) return undefined;
    if (depth === path.length - 1) return removed(text, object as Required<Value>, at);
    object = member.value;
  }
  return undefined;
}

function removed(text: string, { from: open, to: close, members }: Required<Value>, at: number): string {
  const { from, value } = members[at] as Member;
  const comma = commaAfter(text, value.to);
  const start = from - (/\s*$/.exec(text.slice(0, from))?.[0].length ?? 0);
  if (members.length === 1) {
    const rest = text.slice(comma ?? value.to, close - 1);
    return text.slice(0, Math.max(open + 1, start)) + (/\S/.test(rest) ? rest : "") + text.slice(close - 1);
  }
  const cut = text.slice(0, start) + text.slice(comma ?? value.to);
  const before = members[at - 1];
  if (comma !== undefined || before === undefined) return cut;
  // It was the last one, and no comma stood behind it: so none shall stand behind the one before.
  const own = commaAfter(text, before.value.to);
  return own === undefined ? cut : cut.slice(0, own - 1) + cut.slice(own);
}

/** Behind the next comma, where nothing but blanks and comments are before it. */
function commaAfter(text: string, at: number): number | undefined {
  const next = skipped(text, at);
  return text[next] === "," ? next + 1 : undefined;
}

const GAP = /(?:\s|\uFEFF|\/\/[^\n]*|\/\*[\s\S]*?\*\/)*/y;
const ATOM = /"(?:[^"\\]|\\[\s\S])*"|'(?:[^'\\]|\\[\s\S])*'|[^\s{}[\]:,"'/]+/y;

function skipped(text: string, at: number): number {
  GAP.lastIndex = at;
  GAP.exec(text);
  return GAP.lastIndex;
}

/** undefined: not understood. The text has been parsed before, so its depth is one that can be read. */
function readValue(text: string, from = skipped(text, 0)): Value | undefined {
  const open = text[from];
  if (open !== "{" && open !== "[") {
    const to = atomEnd(text, from);
    return to === undefined ? undefined : { from, to };
  }
  const close = open === "{" ? "}" : "]";
  const members: Member[] = [];
  for (let at = skipped(text, from + 1); ;) {
    if (text[at] === close) return { from, to: at + 1, ...(open === "{" && { members }) };
    const begin = at;
    let name = "";
    if (open === "{") {
      const end = atomEnd(text, at);
      if (end === undefined) return undefined;
      name = nameOf(text.slice(at, end));
      at = skipped(text, end);
      if (text[at] !== ":") return undefined;
      at = skipped(text, at + 1);
    }
    const value = readValue(text, at);
    if (value === undefined) return undefined;
    members.push({ name, from: begin, value });
    at = skipped(text, value.to);
    if (text[at] === ",") at = skipped(text, at + 1);
    else if (text[at] !== close) return undefined;
  }
}

function atomEnd(text: string, at: number): number | undefined {
  ATOM.lastIndex = at;
  return ATOM.exec(text) === null ? undefined : ATOM.lastIndex;
}

function nameOf(atom: string): string {
  if (!/^["']/.test(atom)) return atom;
  const [name] = Object.keys((parsed(`{${atom}:0}`) ?? {}) as object);
  return name ?? "";
}
