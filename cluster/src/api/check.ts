/**
 * Checks what came in against a schema and says in plain words what is wrong: which field, what was expected, and an
 * unknown field by its name. The words are bounded, however much is wrong.
 */
import { ClusterError } from "@openclaw-cluster/contract/errors";
import type { z } from "zod";
import { ENTRIES_MAX, sprawls } from "../system/sprawl.ts";

type Issue = z.core.$ZodIssue;

const ISSUES_MAX = 8;
const ISSUE_CHARS_MAX = 200;
/** Fields of a task's input that may hold anything (contract/task-spec.ts). */
const ANYTHING = ["value", "args"] as const;

/** `at` is the place of the value in the request: `tasks[3]`, `query`, or nothing for the body itself. */
export function check<S extends z.ZodType>(schema: S, value: unknown, at: string): z.output<S> {
  const result = schema.safeParse(value);
  if (result.success) return result.data;
  throw new ClusterError("bad_request", describe(result.error.issues, at));
}

/** A body, or a task in it. What is larger than any that makes sense is not even looked at. */
export function checkBody<S extends z.ZodType>(schema: S, value: unknown, at: string): z.output<S> {
  if (sprawls(value, ANYTHING))
    throw new ClusterError("bad_request", `${at || "The body"} has more than ${ENTRIES_MAX} entries, or is nested too deep.`);
  return check(schema, value, at);
}

function describe(issues: readonly Issue[], at: string): string {
  const lines = issues.slice(0, ISSUES_MAX).map((issue) => {
    const place = path(at, issue.path);
    return cut(place === "" ? words(issue) : `${place}: ${words(issue)}`);
  });
  if (issues.length > ISSUES_MAX) lines.push(`and ${issues.length - ISSUES_MAX} more`);
  return lines.join("; ");
}

function words(issue: Issue): string {
  switch (issue.code) {
    case "unrecognized_keys":
      return `unknown ${issue.keys.length === 1 ? "field" : "fields"} ${issue.keys
        .slice(0, ISSUES_MAX)
        .map((key) => `\`${key}\``)
        .join(", ")}`;
    case "invalid_union":
      // A discriminated union has a message of its own; of another, each branch says what it would have taken.
      return issue.errors.length === 0 ? issue.message : branches(issue.errors);
    default:
      return issue.message;
  }
}

function branches(errors: readonly (readonly Issue[])[]): string {
  const seen = new Set(errors.flatMap((branch) => branch.slice(0, 1).map(words)));
  return [...seen].slice(0, ISSUES_MAX).join("; or ");
}

function path(at: string, keys: readonly PropertyKey[]): string {
  let place = at;
  for (const key of keys) place += typeof key === "number" ? `[${key}]` : `${place === "" ? "" : "."}${String(key)}`;
  return place;
}

function cut(line: string): string {
  return line.length <= ISSUE_CHARS_MAX ? line : `${line.slice(0, ISSUE_CHARS_MAX)}…`;
}
