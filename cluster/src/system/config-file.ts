/**
 * cluster.yaml as a document: read with the line of every mistake, edited without losing a comment. JSON is YAML too,
 * so a file written as JSON is read as well.
 */
import { ClusterError } from "@openclaw-cluster/contract/errors";
import { isMap, isScalar, LineCounter, parseDocument, type Document, type Node } from "yaml";
import type { z } from "zod";
import { ConfigSchema, type ConfigPatch } from "./config-schema.ts";
import { readTextFile, writePrivateFile } from "./folders.ts";

const FILE_CHARS_MAX = 256 * 1024;
const ISSUES_TOLD_MAX = 5;
const HEADER = " Settings of this machine. `openclaw-cluster config schema` describes every field;\n unset ones have their defaults.";

interface Opened {
  readonly path: string;
  readonly text: string;
  readonly document: Document;
  readonly lines: LineCounter;
}

/** The file's settings; none when there is no file. */
export async function readConfigFile(path: string): Promise<ConfigPatch> {
  return check(await open(path));
}

/** Sets what the patch names, removes what it names as null, and leaves all else as it is. False: nothing changed. */
export async function editConfigFile(path: string, patch: ConfigPatch): Promise<boolean> {
  const opened = await open(path);
  check(opened);
  apply(opened.document, [], patch);
  const text = opened.document.toString({ lineWidth: 0 });
  if (text === opened.text) return false;
  check({ ...opened, ...parse(text) });
  await writePrivateFile(path, text);
  return true;
}

async function open(path: string): Promise<Opened> {
  const text = (await readTextFile(path)) ?? "";
  if (text.length > FILE_CHARS_MAX) throw new ClusterError("config_invalid", `${path} is longer than ${FILE_CHARS_MAX} characters`);
  const parsed = parse(text);
  if (text === "") parsed.document.commentBefore = HEADER;
  return { path, text, ...parsed };
}

function parse(text: string): { document: Document; lines: LineCounter } {
  const lines = new LineCounter();
  return { document: parseDocument(text, { lineCounter: lines, prettyErrors: false }), lines };
}

function check({ path, document, lines }: Opened): ConfigPatch {
  const broken = document.errors[0];
  if (broken !== undefined) throw new ClusterError("config_invalid", `${path}:${lines.linePos(broken.pos[0]).line}: ${broken.message}`);
  const settings: unknown = document.toJS() ?? {};
  const result = ConfigSchema.safeParse(settings);
  if (result.success) return settings as ConfigPatch;
  const told = result.error.issues.slice(0, ISSUES_TOLD_MAX).map((issue) => {
    const { name, offset } = locate(document, issue);
    return `${path}:${lines.linePos(offset).line}: ${name}: ${issue.message}`;
  });
  throw new ClusterError("config_invalid", told.join("; "));
}

/** An unknown field is told at its own name, any other mistake at the value, or at the nearest thing that is there. */
function locate(document: Document, issue: z.core.$ZodIssue): { name: string; offset: number } {
  const path = issue.path.map(String);
  if (issue.code === "unrecognized_keys") {
    const key = issue.keys[0] ?? "";
    const parent = path.length === 0 ? document.contents : document.getIn(path, true);
    const pair = isMap(parent) ? parent.items.find((item) => isScalar(item.key) && item.key.value === key) : undefined;
    return { name: [...path, key].join("."), offset: (pair?.key as Node | undefined)?.range?.[0] ?? 0 };
  }
  for (let depth = path.length; depth > 0; depth--) {
    const node = document.getIn(path.slice(0, depth), true) as Node | undefined;
    if (node?.range) return { name: path.join("."), offset: node.range[0] };
  }
  return { name: path.join(".") || "the whole file", offset: 0 };
}

function apply(document: Document, at: readonly string[], patch: object): void {
  for (const [key, value] of Object.entries(patch) as [string, unknown][]) {
    const path = [...at, key];
    if (value === undefined) continue;
    if (value === null) document.deleteIn(path);
    else if (typeof value === "object" && !Array.isArray(value)) apply(document, path, value);
    else document.setIn(path, Array.isArray(value) ? document.createNode(value) : value);
  }
}
