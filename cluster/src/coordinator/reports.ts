/**
 * What workers say of their attempts. Act three of a task's way: the result of a lease that still holds is settled, any
 * other is told that it is stale.
 */
import { taskKey, type NodeId } from "@openclaw-cluster/contract/ids";
import type { AttemptRef, Finished, Outcome, Report, Verdict } from "@openclaw-cluster/contract/wire";
import { blobName } from "../bus/subjects.ts";
import { holds, report as note, settle, start } from "../core/settle.ts";
import type { TaskRecord } from "../core/task.ts";
import type { NodeEntry } from "./registry.ts";
import type { State } from "./state.ts";

/** A node that refused a task is passed over for tasks of that shape, at first for this long, then twice as long … */
const PENALTY_MS = 1_000;
/** … and no longer than this. */
const PENALTY_MS_MAX = 60_000;

export interface Applied {
  /** In the order of `report.finished`. */
  readonly verdicts: Verdict[];
  /** Something of it moved a task on, which nothing can do twice. */
  readonly isNews: boolean;
}

export function applyReport(state: State, entry: NodeEntry, report: Report): Applied {
  const node = entry.row.id;
  if (entry.boot === report.boot) entry.said = Math.max(entry.said, report.n);
  const now = state.clock.wall();
  let isNews = false;
  for (const started of report.started) {
    const task = held(state, node, started);
    if (task === undefined) continue;
    const next = start(task, started.at);
    if (next !== task) isNews = true;
    state.ledger.write(task, { task: next });
  }
  for (const news of report.progressed) {
    const task = held(state, node, news);
    if (task === undefined) continue;
    const next = note(task, {
      ...(news.progress !== undefined && { progress: news.progress }),
      ...(news.acted !== undefined && { acted: news.acted }),
    });
    if (next.acted === task.acted) {
      state.ledger.note(next);
    } else {
      isNews = true;
      state.ledger.write(task, { task: next });
    }
    if (news.progress !== undefined) state.outgoing.progress(next);
  }
  const verdicts = report.finished.map((finished) => applyFinished(state, node, finished, now));
  return { verdicts, isNews: isNews || verdicts.includes("accepted") };
}

function applyFinished(state: State, node: NodeId, finished: Finished, now: number): Verdict {
  const task = held(state, node, finished);
  if (task === undefined) return taskKey(finished.task) <= state.ledger.lastKey ? "stale" : "unknown";
  const outcome = ownResult(node, finished);
  if (outcome !== finished.outcome) state.trespassed(node, `named a result for ${finished.task} that is not its own`);
  const { scheduler } = state.ledger;
  state.ledger.write(task, settle(task, { ...finished, outcome }, now, state.random()));
  if (outcome.kind === "refused") {
    passOver(state, task, node, now);
  } else if (outcome.kind !== "cancelled") {
    const succeeded = outcome.kind === "succeeded";
    scheduler.observe(node, task.spec.kind, finished.runMs, succeeded);
    countFor(state, node, succeeded);
  }
  return "accepted";
}

/** The node knows better than its facts: try others first, and this one again later. */
export function passOver(state: State, task: TaskRecord, node: NodeId, now: number): void {
  state.ledger.scheduler.penalise(task, node, now + Math.min(PENALTY_MS_MAX, PENALTY_MS * 2 ** Math.min(task.attempt, 10)));
}

/** A node may name only its own attempt's blob as a result: any other could hold what is not its to show. */
function ownResult(node: NodeId, { task, attempt, outcome }: Finished): Outcome {
  if (outcome.kind !== "succeeded" || outcome.blob === undefined || outcome.blob.blob === blobName(node, task, attempt)) return outcome;
  return { kind: "failed", error: { code: "worker_failed", message: `The node ${node} named a result that is not this attempt's.` } };
}

/** The task, if this node holds the lease that the message speaks of (L1). */
function held(state: State, node: NodeId, ref: AttemptRef): TaskRecord | undefined {
  const task = state.ledger.get(taskKey(ref.task));
  if (task === undefined || !holds(task, ref)) return undefined;
  if (task.lease?.node === node) return task;
  // An old attempt is spoken of by mistake; the very one that another node holds is not.
  state.trespassed(node, `spoke for an attempt of ${ref.task} that another node holds`);
  return undefined;
}

function countFor(state: State, node: NodeId, succeeded: boolean): void {
  const entry = state.registry.find(node);
  if (entry === undefined) return;
  const { row } = entry;
  entry.row = succeeded ? { ...row, succeeded: row.succeeded + 1 } : { ...row, failed: row.failed + 1 };
}
