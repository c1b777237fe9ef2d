/**
 * The rows of a batch, and the prompt that is made of each.
 *
 * B1. Every row is looked at before anything is submitted: a mistake in the last one costs no answer.
 * B2. The first row decides what all are: JSON objects, a line each, or lines of text.
 */
import { ClusterError } from "@openclaw-cluster/contract/errors";
import { jsonOf } from "../system/json-of.ts";

/** Half of what may wait in a cluster at once (LIMITS.liveTasksMax). */
const ROWS_MAX = 100_000;
/** What a line of text is called in a prompt. */
const LINE = "line";
const PLACE = /\{\{\s*([A-Za-z_][\w.-]*)\s*\}\}/g;

export interface Row {
  /** In the file, from 1. */
  readonly line: number;
  readonly fields: Readonly<Record<string, unknown>>;
}

/** Empty lines are none. */
export function readRows(text: string, file: string): readonly Row[] {
  const lines = text.split("\n").map((line, at) => ({ line: at + 1, said: line.replace(/\r$/, "") }));
  const said = lines.filter((one) => one.said.trim() !== "");
  if (said.length === 0) throw new ClusterError("usage", `${file} has no rows`);
  if (said.length > ROWS_MAX) throw new ClusterError("usage", `${file} has ${said.length} rows; at most ${ROWS_MAX} make one batch`);
  if (objectIn(said[0]?.said ?? "") === undefined) return said.map((one) => ({ line: one.line, fields: { [LINE]: one.said } }));
  return said.map((one) => {
    const fields = objectIn(one.said);
    if (fields === undefined) throw new ClusterError("usage", `${file}, line ${one.line} is no JSON object, as the first one is`);
    return { line: one.line, fields };
  });
}

function objectIn(line: string): Record<string, unknown> | undefined {
  if (!line.trimStart().startsWith("{")) return undefined;
  const value = jsonOf(line);
  return typeof value === "object" && value !== null && !Array.isArray(value) ? (value as Record<string, unknown>) : undefined;
}

/** Does it ask for anything of a row? */
export const hasPlaces = (template: string): boolean => template.search(PLACE) >= 0;

/** `{{name}}` stands for the row's field of that name: a text as it is, anything else as JSON. */
export function filled(template: string, { line, fields }: Row, file: string): string {
  return template.replaceAll(PLACE, (place, name: string) => {
    if (!Object.hasOwn(fields, name)) {
      const known = Object.keys(fields).map((one) => `{{${one}}}`);
      throw new ClusterError("usage", `${place} is not in ${file}, line ${line}; that row has ${known.join(", ") || "no field"}`);
    }
    const value = fields[name];
    return typeof value === "string" ? value : JSON.stringify(value);
  });
}
