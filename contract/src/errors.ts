/**
 * The closed table of errors. A code says what happened; the table says what follows from it: the HTTP status, the
 * exit code of the command line, whether the same request may help later, and what a person can do next.
 *
 * E1. Nobody decides by reading a message: code decides, message explains.
 * E2. A code is never renamed or given another meaning; docs/api.md and the OpenAPI document list the same codes.
 */
import { z } from "zod";

interface ErrorRow {
  readonly status: number;
  readonly exit: 1 | 2;
  /** True: the same request can succeed later without a change by the caller. */
  readonly retryable: boolean;
  readonly hint: string;
}

const row = (status: number, exit: 1 | 2, retryable: boolean, hint: string): ErrorRow => ({ status, exit, retryable, hint });

export const ERRORS = {
  // A request that cannot be carried out as it is.
  bad_request: row(400, 2, false, "Correct the fields named in the detail."),
  unauthorized: row(401, 1, false, "Pass the API token: --token, OPENCLAW_CLUSTER_TOKEN, or the file admin.token in the cluster's folder."),
  forbidden: row(403, 1, false, "This token may not do that; use one with the scope named in the detail."),
  not_found: row(404, 1, false, "Look the id up with `openclaw-cluster ps` or `openclaw-cluster nodes`."),
  method_not_allowed: row(405, 2, false, "See /openapi.json for the methods of this path."),
  idempotency_mismatch: row(409, 1, false, "This key was used with another body; choose a new key."),
  state_conflict: row(409, 1, false, "Look at the present state with `openclaw-cluster show`."),
  payload_too_large: row(413, 2, false, "Send less at once; the limit is in the detail."),
  unsupported_media_type: row(415, 2, false, "Send JSON with content-type: application/json."),
  misdirected: row(421, 1, false, "Call the coordinator by an address that it listens on."),
  overloaded: row(429, 1, true, "Wait for the time in Retry-After, then send the same request again."),
  internal: row(500, 1, true, "This is a fault of ours: look into the coordinator's log and report it."),
  unavailable: row(503, 1, true, "The coordinator is starting, stopping or without its store; try again."),
  storage_full: row(507, 1, true, "Free disk space where the coordinator keeps its data."),

  // A program that cannot start or reach another.
  usage: row(400, 2, false, "Run the command with --help."),
  config_invalid: row(400, 2, false, "Correct cluster.yaml as the detail says."),
  binary_missing: row(503, 2, false, "Install the program named in the detail, or name it by its environment variable."),
  port_taken: row(503, 2, false, "Stop the other program or choose another port."),
  store_unreadable: row(503, 1, false, "Put a backup of the data folder back; if a newer openclaw-cluster wrote it, update this one."),
  already_running: row(409, 1, false, "One daemon per folder: stop the other, or choose another --home."),
  coordinator_unreachable: row(503, 1, true, "Is it running? Try `openclaw-cluster doctor`."),
  bus_unreachable: row(503, 1, true, "The connection to nats-server is down; it comes back by itself."),
  bus_timeout: row(504, 1, true, "No answer in time: the outcome is unknown, not failed."),

  // How an attempt can end other than well.
  command_failed: row(422, 1, false, "The command ended with an error; see its output with `openclaw-cluster logs`."),
  spawn_failed: row(422, 1, false, "The program could not be started on that node; is it installed there?"),
  run_timeout: row(422, 1, true, "The attempt ran longer than timeouts.runMs."),
  idle_timeout: row(422, 1, true, "The attempt showed no output for timeouts.idleMs."),
  start_timeout: row(422, 1, true, "The node did not start the attempt within timeouts.startMs."),
  queue_timeout: row(422, 1, false, "No node took the task within timeouts.queueMs; ask `openclaw-cluster why`."),
  deadline_passed: row(422, 1, false, "The task was not done by its deadline."),
  policy_denied: row(403, 1, false, "The node's own policy.yaml does not allow this; its owner can change that."),
  executor_missing: row(422, 1, false, "That node cannot carry out this kind of task."),
  gateway_unreachable: row(503, 1, true, "The node's OpenClaw Gateway is down; start it or run `openclaw-cluster doctor` there."),
  gateway_refused: row(422, 1, false, "The node's OpenClaw Gateway refused the request; the detail says why."),
  agent_failed: row(422, 1, true, "The agent's turn ended with an error; see its output."),
  tool_failed: row(422, 1, false, "The tool answered with an error; see the detail."),
  result_too_large: row(422, 1, false, "The result is larger than this cluster keeps."),
  node_lost: row(422, 1, true, "The node vanished while the attempt ran; its outcome is unknown."),
  node_stopped: row(422, 1, true, "The node's daemon was stopped while the attempt ran, and stopped it before its end."),
  worker_failed: row(422, 1, true, "The worker itself failed; see its log."),
} as const satisfies Record<string, ErrorRow>;

export type ErrorCode = keyof typeof ERRORS;
export const ErrorCode = z.enum(Object.keys(ERRORS) as [ErrorCode, ...ErrorCode[]]);

/** The one error class of the project. `detail` is for people, never holds a secret, and is safe to send to a caller. */
export class ClusterError extends Error {
  readonly code: ErrorCode;
  readonly detail: string;
  readonly retryAfterMs: number | undefined;

  constructor(code: ErrorCode, detail: string, options: { cause?: unknown; retryAfterMs?: number } = {}) {
    super(`${code}: ${detail}`, options.cause === undefined ? undefined : { cause: options.cause });
    this.name = "ClusterError";
    this.code = code;
    this.detail = detail;
    this.retryAfterMs = options.retryAfterMs;
  }

  get row(): ErrorRow {
    return ERRORS[this.code];
  }
}

/** RFC 9457 problem details, as every error answer carries them (`application/problem+json`). */
export const Problem = z
  .object({
    type: z.string(),
    title: z.string(),
    status: z.int(),
    code: ErrorCode,
    detail: z.string(),
    hint: z.string(),
    retryable: z.boolean(),
  })
  .meta({ id: "Problem" });
export type Problem = z.infer<typeof Problem>;

export function toProblem(error: ClusterError): Problem {
  const { status, hint, retryable } = error.row;
  return { type: "about:blank", title: error.code.replaceAll("_", " "), status, code: error.code, detail: error.detail, hint, retryable };
}
