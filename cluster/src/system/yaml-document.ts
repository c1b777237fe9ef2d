/**
 * A YAML file that people write, read with the line and the field of every mistake. JSON is YAML too, so a file written
 * as JSON is read as well.
 */
import { isMap, isScalar, LineCounter, parseDocument, type Document, type Node } from "yaml";
import type { z } from "zod";

export interface YamlDocument {
  readonly document: Document;
  readonly lines: LineCounter;
}

export interface Fault {
  readonly line: number;
  /** As `allow.commands.0`; absent where the text is no YAML. */
  readonly field?: string;
  readonly message: string;
}

export function readYaml(text: string): YamlDocument {
  const lines = new LineCounter();
  return { document: parseDocument(text, { lineCounter: lines, prettyErrors: false }), lines };
}

/** Undefined while the text is YAML at all. */
export function syntaxFault({ document, lines }: YamlDocument): Fault | undefined {
  const broken = document.errors[0];
  return broken && { line: lines.linePos(broken.pos[0]).line, message: broken.message };
}

export function schemaFaults({ document, lines }: YamlDocument, { issues }: z.ZodError): Fault[] {
  return issues.map((issue) => {
    const { name, offset } = locate(document, issue);
    return { line: lines.linePos(offset).line, field: name, message: issue.message };
  });
}

/** `cluster.yaml:3: api.port: …` */
export function faultText(path: string, { line, field, message }: Fault): string {
  return `${path}:${line}: ${field === undefined ? "" : `${field}: `}${message}`;
}

/** An unknown field is told at its own name, any other mistake at the value, or at the nearest thing that is there. */
function locate(document: Document, issue: z.core.$ZodIssue): { name: string; offset: number } {
  const path = issue.path.map((part) => (typeof part === "symbol" ? String(part) : part));
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
