/** The thread in which answers are checked by schemas (schema-check.ts, which alone starts it): a message in, a verdict out. */
import { parentPort } from "node:worker_threads";
import { Validator, type Schema, type SchemaDraft } from "@cfworker/json-schema";
import type { SchemaQuestion, SchemaVerdict } from "./schema-check.ts";

/** By what its `$schema` says; the newest where it says nothing. */
const DRAFTS: readonly (readonly [sign: string, draft: SchemaDraft])[] = [
  ["draft-04", "4"],
  ["draft-06", "7"],
  ["draft-07", "7"],
  ["2019-09", "2019-09"],
];

function draftOf({ $schema }: Schema): SchemaDraft {
  return DRAFTS.find(([sign]) => typeof $schema === "string" && $schema.includes(sign))?.[1] ?? "2020-12";
}

function judge({ schema, value }: SchemaQuestion): SchemaVerdict {
  try {
    const { valid, errors } = new Validator(schema as Schema, draftOf(schema as Schema)).validate(value);
    if (valid) return { kind: "holds" };
    // The outermost come first; the innermost says what is wrong.
    const last = errors.at(-1);
    return { kind: "breaks", where: last?.instanceLocation ?? "#", detail: last?.error ?? "it does not hold" };
  } catch (error) {
    // A reference that leads nowhere, or round in circles.
    return { kind: "unusable", detail: (error as Error).message };
  }
}

parentPort?.on("message", (question: SchemaQuestion) => parentPort?.postMessage(judge(question)));
parentPort?.postMessage("ready");
