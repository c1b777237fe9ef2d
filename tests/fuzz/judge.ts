/**
 * What an answer may be, by the document: a status that it tells of, a body that fits, and nothing of what goes on inside.
 *
 * J1. Never 5xx, but for 503 with Retry-After.
 * J2. What is more than the schema says is a fault too: an answer, and each event of a stream, tells what the contract promises, and no more.
 * J3. Output that is not followed ends with `end`, or with a problem that says why it cannot.
 */
import { isDeepStrictEqual } from "node:util";
import { ERRORS, Problem } from "@openclaw-cluster/contract/errors";
import type { ServerEvent } from "@openclaw-cluster/contract/client/sse";
import type { Operation } from "@openclaw-cluster/contract/operation";
import { OPERATIONS } from "@openclaw-cluster/contract/operations";
import type { z } from "zod";
import type { Answer, Streamed } from "./exchange.ts";
import type { Described, Shot } from "./requests.ts";

/** Of what leads to no operation, or to another one than was meant. */
const ASTRAY: readonly number[] = [400, 401, 403, 404, 405, 421, 429];
/** A trace of the program: a stack's line, a file of ours or of a package. */
const INSIDE = /\n\s+at |file:\/\/\/|node_modules|\.ts:\d+|node:internal|ERR_[A-Z]|SQLITE_|ENOENT/;

export interface Ground {
  readonly operations: readonly Described[];
  /** Folders that no answer may name. */
  readonly folders: readonly string[];
}

/** What is wrong with it; nothing, if all is well. */
export function faultsOf(ground: Ground, shot: Shot, answer: Answer): string[] {
  const candidates = operationsAt(ground.operations, shot);
  const meant = ground.operations.find(({ name }) => name === shot.operation);
  const isStraight = candidates.length === 1 && candidates[0] === meant && shot.target.startsWith("/");
  const statuses = new Set([...(isStraight ? [] : ASTRAY), ...candidates.flatMap((one) => one.statuses)]);
  const faults: string[] = [];
  if (!statuses.has(answer.status)) faults.push(`the status ${answer.status} is not in the document`);
  if (answer.status >= 500 && !(answer.status === 503 && answer.headers.has("retry-after"))) faults.push(`a status of ${answer.status}`);
  faults.push(...(answer.status < 400 ? wrongReply(candidates, answer) : wrongProblem(answer)));
  // The one answer that has to name a place on the coordinator's disk.
  const mayName = answer.status === 200 && candidates.some(({ name }) => name === "backup");
  const texts = [answer.text, ...(answer.stream?.events ?? []).map(({ data }) => data)];
  if (!mayName && ground.folders.some((folder) => texts.some((text) => text.includes(folder))))
    faults.push("it names a folder of the coordinator");
  // No request of ours has such words in it, so none comes back with a task either.
  if (texts.some((text) => INSIDE.test(text))) faults.push("it tells of the program's inside");
  return faults;
}

/** J3: asked for without `follow`, in whatever form. */
export const endsByItself = ({ method, target }: Pick<Shot, "method" | "target">): boolean =>
  method === "GET" && pathOf(target).endsWith("/logs") && !target.includes("follow");

/** Every operation that may serve it: words of one path can be an id of another. */
function operationsAt(operations: readonly Described[], { method, target }: Shot): Described[] {
  const place = pathOf(target);
  return operations.filter((one) => one.method === method && new RegExp(`^${one.path.replaceAll(/\{\w+\}/g, "[^/]+")}$`).test(place));
}

function pathOf(target: string): string {
  const base = "http://127.0.0.1";
  return URL.canParse(target, base) ? new URL(target, base).pathname : "";
}

function wrongReply(candidates: readonly Described[], answer: Answer): string[] {
  if (answer.stream !== undefined) return wrongStream(candidates, answer.stream);
  if (answer.headers.get("content-type") !== "application/json") return [`the content-type ${answer.headers.get("content-type")}`];
  const value = parsed(answer.text);
  if (value === undefined) return ["its body is no JSON"];
  const fits = candidates.some(({ name }) => {
    const reading = operationOf(name)?.reply.safeParse(value);
    return reading?.success === true && isDeepStrictEqual(reading.data, value);
  });
  return fits ? [] : ["its body does not fit the schema of the reply"];
}

function wrongProblem(answer: Answer): string[] {
  if (answer.headers.get("content-type") !== "application/problem+json") return [`the content-type ${answer.headers.get("content-type")}`];
  const value = parsed(answer.text);
  const problem = Problem.safeParse(value);
  if (!problem.success || !isDeepStrictEqual(problem.data, value)) return ["its body is no problem"];
  const { status, code } = problem.data;
  return status === answer.status && ERRORS[code].status === status ? [] : [`${code} with the status ${answer.status}`];
}

function wrongStream(candidates: readonly Described[], { events, ended }: Streamed): string[] {
  const operation = candidates.map(({ name }) => operationOf(name)).find((one) => one?.stream === true);
  if (operation === undefined) return ["a stream where there is none"];
  const faults = events.flatMap((event) => wrongEvent(operation.reply, event) ?? []);
  if (ended && !events.slice(-1).some(isFarewell)) faults.push("a stream that ends without a word");
  if (events.slice(0, -1).some(isFarewell)) faults.push("events after the last one");
  return faults;
}

/** Nothing may follow it. */
const isFarewell = ({ name }: ServerEvent): boolean => name === "end" || name === "error";

/** J2, for one event: undefined if all is well. */
export function wrongEvent(schema: z.ZodType, { name, id, data }: ServerEvent): string | undefined {
  if (name === "message" && id !== undefined && data === "") return undefined;
  const value = parsed(data);
  if (name === "end") return isDeepStrictEqual(value, {}) ? undefined : `an end that says ${data.slice(0, 100)}`;
  if (name === "error") {
    const problem = Problem.safeParse(value);
    return problem.success && isDeepStrictEqual(problem.data, value) && problem.data.code !== "internal"
      ? undefined
      : `an error that says ${data.slice(0, 300)}`;
  }
  const reading = schema.safeParse(value);
  if (name === "message" && reading.success && isDeepStrictEqual(reading.data, value)) return undefined;
  return `the event ${name} ${id}, which is none of the document's: ${data.slice(0, 300)}`;
}

const operationOf = (name: string): Operation | undefined => (OPERATIONS as Readonly<Record<string, Operation>>)[name];

function parsed(text: string): unknown {
  try {
    return JSON.parse(text) as unknown;
  } catch {
    // That it is none is what the caller wants to know.
    return undefined;
  }
}
