/**
 * Which failures are the same one. A fingerprint is the error's code and what stays the same of it from one attempt to
 * the next: it tells a task that fails everywhere from one whose node is at fault, and gathers tasks that failed alike.
 *
 * F1. Numbers, ids, times and paths of one attempt are no part of it; exit codes, signals and statuses are.
 * F2. It is short and fit for a command line: `command_failed-9a0c12f3`.
 */
import { ERRORS, type ErrorCode } from "@openclaw-cluster/contract/errors";
import type { NodeId } from "@openclaw-cluster/contract/ids";
import type { TaskError } from "@openclaw-cluster/contract/task";
import { nameHash } from "./scheduling/hash.ts";

/** What a record remembers of the last attempt that failed. */
export interface Failure {
  readonly node: NodeId;
  readonly print: string;
}

/** The data of an error that name its cause, in our own executors and in OpenClaw; all else is output, or a count. */
const TELLING = ["exitCode", "signal", "status", "reason", "code"] as const;
const WORDS: Readonly<Record<(typeof TELLING)[number], string>> = {
  exitCode: "exit ",
  signal: "",
  status: "status ",
  reason: "",
  code: "",
};
/** Of the message; what differs further on is hardly another failure. */
const MESSAGE_CHARS_MAX = 120;
/** Before what varies is taken out, which can be long: a path, an address. */
const MESSAGE_CHARS_READ = 480;

export function fingerprint(error: TaskError): string {
  return `${error.code}-${nameHash(stablePart(error)).toString(16).padStart(8, "0")}`;
}

/** For people: `exit 127: sh ended with exit code #.` */
export function stablePart({ message, data = {} }: TaskError): string {
  const facts = TELLING.flatMap((name) => {
    const value = data[name];
    return typeof value === "string" || typeof value === "number" ? [`${WORDS[name]}${value}`] : [];
  });
  // Any word with a digit in it is a number, an id, a time or a path of this attempt, or as good as one.
  const [line = ""] = message.trim().split("\n", 1);
  const said = line
    .slice(0, MESSAGE_CHARS_READ)
    .replaceAll(/[^\s"'`(),;]*\d[^\s"'`(),;]*/g, "#")
    .slice(0, MESSAGE_CHARS_MAX);
  return facts.length === 0 ? said : `${facts.join(" ")}: ${said}`;
}

/** The same failure on a second node: the task's own fault, whatever it is. */
export function isPoison(last: Failure | undefined, now: Failure, code: ErrorCode): boolean {
  return last !== undefined && last.print === now.print && last.node !== now.node && isOwnFault(code);
}

/**
 * A model answers anew each time, well or not; and of a server that failed nobody knows whether the request was what broke it, or all
 * servers of a batch were down. Both end with the retries.
 */
const OF_CHANCE: ReadonlySet<ErrorCode> = new Set<ErrorCode>(["answer_invalid", "model_failed"]);

/** Lost nodes, Gateways that are down and providers in demand say nothing of the task; a worker that it breaks does. */
function isOwnFault(code: ErrorCode): boolean {
  if (OF_CHANCE.has(code)) return false;
  const its = ERRORS[code].class;
  return code === "worker_failed" || (its !== "infrastructure" && its !== "throttled");
}
