/**
 * The closed table of errors. A code says what happened; the table says what follows from it: the HTTP status, the
 * exit code of the command line, the class, which says whether trying again may help, and what a person can do next.
 *
 * E1. Nobody decides by reading a message: code decides, message explains.
 * E2. A code is never renamed or given another meaning; docs/api.md and the OpenAPI document list the same codes.
 * E3. Every code has one class; what becomes of an attempt that ended with it follows from that (core/retry.ts).
 */
import { z } from "zod";

/**
 * infrastructure: a machine, a process or a connection failed, not the work. throttled: somebody asked for patience.
 * transient: it failed, and may succeed the next time. permanent: it fails again until somebody changes something.
 * policy: it is not allowed.
 */
export const ErrorClass = z.enum(["infrastructure", "throttled", "transient", "permanent", "policy"]);
export type ErrorClass = z.infer<typeof ErrorClass>;

interface ErrorRow {
  readonly status: number;
  readonly exit: 1 | 2;
  readonly class: ErrorClass;
  /** True: the same request can succeed later without a change by the caller. Follows from the class. */
  readonly retryable: boolean;
  readonly hint: string;
}

function row(status: number, exit: 1 | 2, errorClass: ErrorClass, hint: string): ErrorRow {
  return { status, exit, class: errorClass, retryable: errorClass !== "permanent" && errorClass !== "policy", hint };
}

export const ERRORS = {
  // A request that cannot be carried out as it is.
  bad_request: row(400, 2, "permanent", "Correct the fields named in the detail."),
  unauthorized: row(
    401,
    1,
    "policy",
    "Pass the API token: --token, OPENCLAW_CLUSTER_TOKEN, or the file admin.token in the cluster's folder.",
  ),
  forbidden: row(403, 1, "policy", "This token may not do that; use one with the scope named in the detail."),
  not_found: row(404, 1, "permanent", "Look the id up with `openclaw-cluster ps`, `openclaw-cluster nodes` or `openclaw-cluster models`."),
  method_not_allowed: row(405, 2, "permanent", "See /openapi.json for the methods of this path."),
  idempotency_mismatch: row(409, 1, "permanent", "This key was used with another body; choose a new key."),
  state_conflict: row(409, 1, "permanent", "Look at the present state with `openclaw-cluster show`."),
  payload_too_large: row(413, 2, "permanent", "Send less at once; the limit is in the detail."),
  unsupported_media_type: row(415, 2, "permanent", "Send JSON with content-type: application/json."),
  misdirected: row(421, 1, "permanent", "Call the coordinator by an address that it listens on."),
  overloaded: row(429, 1, "throttled", "Wait for the time in Retry-After, then send the same request again."),
  internal: row(500, 1, "infrastructure", "This is a fault of ours: look into the coordinator's log and report it."),
  unavailable: row(503, 1, "infrastructure", "The coordinator is starting, stopping or without its store; try again."),
  storage_full: row(507, 1, "infrastructure", "Free disk space where the coordinator keeps its data."),

  // A program that cannot start or reach another.
  usage: row(400, 2, "permanent", "Run the command with --help."),
  policy_invalid: row(400, 2, "permanent", "Correct policy.yaml as the detail says; until then everything is denied on this node."),
  config_invalid: row(400, 2, "permanent", "Correct cluster.yaml as the detail says."),
  binary_missing: row(503, 2, "permanent", "Install the program named in the detail, or name it by its environment variable."),
  port_taken: row(503, 2, "permanent", "Stop the other program or choose another port."),
  service_failed: row(503, 2, "permanent", "Do as the detail says, or run `openclaw-cluster start` in a terminal meanwhile."),
  store_unreadable: row(
    503,
    1,
    "permanent",
    "Put a backup back with `openclaw-cluster restore`; if a newer openclaw-cluster wrote it, update this one.",
  ),
  store_failed: row(
    503,
    1,
    "infrastructure",
    "Look at the disk that holds the coordinator's data, then start again; whatever was answered is checked and there.",
  ),
  already_running: row(409, 1, "permanent", "One daemon per folder: stop the other, or choose another --home."),
  coordinator_unreachable: row(503, 1, "infrastructure", "Is it running? Try `openclaw-cluster doctor`."),
  certificate_refused: row(
    503,
    1,
    "permanent",
    "Do as the detail says; nothing was sent there. On the coordinator `openclaw-cluster doctor` tells of its certificates.",
  ),
  clock_apart: row(503, 1, "infrastructure", "Set the clocks of this machine and of the coordinator's by the network (NTP)."),
  bus_unreachable: row(503, 1, "infrastructure", "The connection to nats-server is down; it comes back by itself."),
  node_removed: row(
    410,
    2,
    "permanent",
    "Let it join with a new code (on the coordinator: `openclaw-cluster invite`), or delete its folder.",
  ),
  bus_timeout: row(504, 1, "infrastructure", "No answer in time: the outcome is unknown, not failed."),

  // How an attempt can end other than well.
  command_failed: row(422, 1, "permanent", "The command ended with an error; see its output with `openclaw-cluster logs`."),
  limit_reached: row(
    422,
    1,
    "permanent",
    "The command took more of the node than it may; the detail says which limit, and what to change.",
  ),
  spawn_failed: row(422, 1, "permanent", "The program could not be started on that node; is it installed there?"),
  run_timeout: row(422, 1, "transient", "The attempt ran longer than timeouts.runMs."),
  idle_timeout: row(422, 1, "transient", "The attempt showed no output for timeouts.idleMs."),
  start_timeout: row(422, 1, "infrastructure", "The node did not start the attempt within timeouts.startMs."),
  queue_timeout: row(422, 1, "permanent", "No node took the task within timeouts.queueMs; ask `openclaw-cluster why`."),
  deadline_passed: row(422, 1, "permanent", "The task was not done by its deadline."),
  policy_denied: row(403, 1, "policy", "The node's own policy.yaml does not allow this; its owner can change that."),
  secret_missing: row(422, 1, "permanent", "On that node: `openclaw-cluster secret set`; or let the task run where the secret is."),
  sandbox_unavailable: row(
    422,
    1,
    "policy",
    "That node's policy.yaml asks for a sandbox that is not there: install bubblewrap on it, or change sandbox in the policy.",
  ),
  disk_full: row(422, 1, "infrastructure", "Free disk space on that node; it takes work again by itself."),
  executor_missing: row(422, 1, "permanent", "That node cannot carry out this kind of task."),
  gateway_unreachable: row(
    503,
    1,
    "infrastructure",
    "The node's OpenClaw Gateway is down; start it or run `openclaw-cluster doctor` there.",
  ),
  throttled: row(429, 1, "throttled", "The provider of the model wants less; the task waits and tries again by itself."),
  gateway_refused: row(422, 1, "permanent", "The node's OpenClaw Gateway refused the request; the detail says why."),
  agent_failed: row(422, 1, "transient", "The agent's turn ended with an error; see its output."),
  tool_failed: row(422, 1, "permanent", "The tool answered with an error; see the detail."),
  model_failed: row(422, 1, "transient", "The model's server failed, or its answer could not be read; see the detail."),
  answer_invalid: row(422, 1, "transient", "The model's answer does not hold to the schema; ask for less at once, or name a larger model."),
  model_refused: row(422, 1, "permanent", "The model's server does not take the request as it is; the detail says why."),
  model_unavailable: row(
    503,
    1,
    "infrastructure",
    "That node could not ask the model: it is not lent there any more, or the way to the control node that leads was cut.",
  ),
  result_too_large: row(422, 1, "permanent", "The result is larger than this cluster keeps."),
  node_lost: row(422, 1, "infrastructure", "The node vanished while the attempt ran; its outcome is unknown."),
  node_stopped: row(
    422,
    1,
    "infrastructure",
    "The node's daemon was stopped, its machine went to sleep or its policy was changed while the attempt ran, which was stopped before its end.",
  ),
  worker_failed: row(422, 1, "infrastructure", "The worker itself failed; see its log."),
} as const satisfies Record<string, ErrorRow>;

export type ErrorCode = keyof typeof ERRORS;
export const ErrorCode = z.enum(Object.keys(ERRORS) as [ErrorCode, ...ErrorCode[]]);

/** The one error class of the project. `detail` is for people, never holds a secret, and is safe to send to a caller. */
export class ClusterError extends Error {
  readonly code: ErrorCode;
  readonly detail: string;
  readonly retryAfterMs: number | undefined;
  /** The coordinator's signature, where whoever asked must know that nobody else says this. */
  readonly proof: string | undefined;

  constructor(code: ErrorCode, detail: string, options: { cause?: unknown; retryAfterMs?: number; proof?: string } = {}) {
    super(`${code}: ${detail}`, options.cause === undefined ? undefined : { cause: options.cause });
    this.name = "ClusterError";
    this.code = code;
    this.detail = detail;
    this.retryAfterMs = options.retryAfterMs;
    this.proof = options.proof;
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
    /** Of what a node is refused that asks for its session: the coordinator's signature, as in its answer. */
    proof: z.string().max(86).optional(),
  })
  .meta({ id: "Problem" });
export type Problem = z.infer<typeof Problem>;

export function toProblem(error: ClusterError): Problem {
  const { status, hint, retryable } = error.row;
  const { code, detail, proof } = error;
  const problem = { type: "about:blank", title: code.replaceAll("_", " "), status, code, detail, hint, retryable };
  return proof === undefined ? problem : { ...problem, proof };
}
