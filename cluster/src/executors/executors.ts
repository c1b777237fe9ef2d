/**
 * The executors' door: the code on a worker that carries out one kind of task. An executor knows nothing of leases,
 * retries or the bus; it gets an attempt, a signal and a place to print, and returns how it ended.
 *
 * X1. When the signal aborts, the executor stops the work, with every process and request it started, within STOP_MS,
 *     and only then returns. The abort's reason (an AbortCause) says whether it was cancelled or ran out of time.
 * X2. It never throws for what can be expected; a thrown error becomes `worker_failed`.
 * X3. It awaits `output`, so that a slow reader slows the work instead of filling memory.
 * X4. It asks the policy before it acts; the worker asked too, but earlier and with less knowledge. What an earlier life began
 *     goes on only where the policy still allows it.
 */
import type { ClusterError } from "@openclaw-cluster/contract/errors";
import type { ClusterId, NodeId } from "@openclaw-cluster/contract/ids";
import type { Json } from "@openclaw-cluster/contract/json";
import type { Progress } from "@openclaw-cluster/contract/task";
import type { TaskKind, TaskSpec } from "@openclaw-cluster/contract/task-spec";
import type { Offer, Outcome, OutputStream } from "@openclaw-cluster/contract/wire";
import type { Log } from "../system/log.ts";

/** A polite stop may take this long before force is used (DESIGN G6: the process tree is gone within 5 s). */
export const STOP_MS = 3_000;

export type AbortCause = "cancelled" | "run_timeout" | "idle_timeout" | "shutdown" | "sleep" | "lease_lost";

export interface Execution {
  readonly cluster: ClusterId;
  readonly node: NodeId;
  readonly offer: Offer;
  /** True: an earlier life of the worker began it. */
  readonly resumed?: boolean;
  /** Aborts with an AbortCause as its reason. */
  readonly signal: AbortSignal;
  /** A fresh, empty folder of this attempt's own; removed afterwards. */
  readonly folder: string;
  readonly log: Log;
  /** Prints. Resolves when there is room for more. Text beyond the attempt's limit is dropped, with a note. */
  output(stream: OutputStream, text: string, data?: Json): Promise<void>;
  progress(progress: Progress): void;
  /** The attempt did something outside that a replay would do again (an agent's tool call). Idempotent. */
  acted(): void;
}

export interface Executor<Kind extends TaskKind = TaskKind> {
  readonly kind: Kind;
  run(spec: Extract<TaskSpec, { kind: Kind }>, execution: Execution): Promise<Outcome>;
  /** True: an attempt that was running when the worker died can be taken up again with `run`, which then reattaches. */
  readonly resumable: boolean;
  /** Called once when the worker starts: ends what attempts of an earlier life, whose folders lie in `folder`, left running. */
  sweep?(folder: string, log: Log): Promise<void>;
}

/** Nothing of it has begun. */
export function refusedByPolicy(reason: string): Outcome {
  return { kind: "refused", error: { code: "policy_denied", message: `This node's policy: ${reason}.` } };
}

/** An error of the table as an attempt's end. */
export function failedWith({ code, detail, retryAfterMs }: ClusterError): Outcome {
  return { kind: "failed", error: { code, message: detail }, ...(retryAfterMs !== undefined && { retryAfterMs }) };
}

export type Executors = ReadonlyMap<TaskKind, Executor>;
