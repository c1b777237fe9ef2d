/** What callers may ask of the coordinator about tasks: reads from the ledger and the store, changes through a turn. */
import { ClusterError } from "@openclaw-cluster/contract/errors";
import { taskId, taskKey, type NodeId, type TaskId } from "@openclaw-cluster/contract/ids";
import { Json } from "@openclaw-cluster/contract/json";
import { LIMITS } from "@openclaw-cluster/contract/limits";
import type { QueueView } from "@openclaw-cluster/contract/cluster";
import type { TaskPage } from "@openclaw-cluster/contract/operations";
import type { Explanation } from "@openclaw-cluster/contract/placement";
import type { Attempt, Submitted, Task } from "@openclaw-cluster/contract/task";
import type { TaskSpec } from "@openclaw-cluster/contract/task-spec";
import { answer, cancel, create, retryByHand } from "../core/settle.ts";
import type { TaskRecord } from "../core/task.ts";
import { changeTask, type Decide } from "./changes.ts";
import { failpoint } from "../system/failpoint.ts";
import { isTooDeep } from "../system/json-depth.ts";
import type { Asker, SubmitRequest, TaskQuery } from "./coordinator.ts";
import { findTasks } from "./finding.ts";
import type { Lead } from "./lead.ts";
import { toAttempts, toTask } from "./views.ts";

export class TaskDesk {
  private readonly lead: Lead;

  constructor(lead: Lead) {
    this.lead = lead;
  }

  submit(request: SubmitRequest): Promise<readonly Submitted[]> {
    return this.lead.intake.submit(request);
  }

  plan(specs: readonly TaskSpec[], by: Pick<SubmitRequest, "owner" | "token"> = { owner: "" }): readonly Explanation[] {
    const now = this.lead.parts.clock.wall();
    const { scheduler } = this.ledger;
    return specs.map((spec) => scheduler.explain({ ...create(0, spec, by.owner, now, by.token), state: "queued" }, now));
  }

  async task(id: TaskId): Promise<Task> {
    return toTask(await this.committed(id));
  }

  async waitFor(id: TaskId, ms: number, signal: AbortSignal): Promise<Task> {
    await this.lead.turn.settled();
    const task = this.ledger.get(taskKey(id));
    if (task !== undefined && ms > 0) {
      await new Promise<void>((resolve) => {
        const stop = this.lead.state.outgoing.whenOver(task.key, resolve);
        const timer = this.lead.parts.clock.after(Math.min(ms, LIMITS.waitMsMax), resolve);
        const leave = (): void => {
          stop();
          timer.cancel();
          resolve();
        };
        signal.addEventListener("abort", leave, { once: true });
      });
    }
    return this.task(id);
  }

  async list(filter: TaskQuery, page: { before?: number; limit: number }): Promise<TaskPage> {
    const { tasks, next } = await findTasks(this.lead.parts.store, filter, page);
    await this.lead.turn.settled();
    // The ledger is newer than the store by what is not worth a commit, such as progress.
    const views = tasks.map((task) => toTask(this.ledger.get(task.key) ?? task));
    return { tasks: views, ...(next !== undefined && { next }) };
  }

  async why(id: TaskId): Promise<Explanation> {
    const task = await this.committed(id);
    const { scheduler } = this.ledger;
    const now = this.lead.parts.clock.wall();
    if (task.state === "queued" || task.state === "scheduled") return this.inTheirWords(task, scheduler.explain(task, now));
    const placed = scheduler.explainPlaced(task);
    if (placed !== undefined) return placed;
    return {
      sentence: `It is ${task.state} (${task.reason}) and was never placed.`,
      strategy: task.spec.strategy ?? this.lead.parts.strategy,
      candidates: [],
      refused: [],
      at: now,
    };
  }

  async attempts(id: TaskId): Promise<readonly Attempt[]> {
    const task = await this.committed(id);
    const holder = task.lease && this.lead.state.registry.find(task.lease.node);
    return toAttempts(task, await this.lead.parts.store.attempts(task.key), holder?.liveness === "ready");
  }

  async result(id: TaskId): Promise<Json> {
    const task = await this.committed(id);
    if (task.state !== "succeeded") throw new ClusterError("state_conflict", `${id} is ${task.state}; only a succeeded task has a result.`);
    if (task.resultBlob === undefined) return task.result ?? null;
    const bytes = await this.lead.parts.bus.getBlob(task.resultBlob.blob);
    if (bytes === undefined) throw new ClusterError("not_found", `The large result of ${id} is no longer kept.`);
    const result = decodeResult(bytes);
    if (result === undefined) throw new ClusterError("not_found", `What the node of ${id} stored as its large result is no result.`);
    return result;
  }

  async cancel(id: TaskId, by?: Asker): Promise<Task> {
    const decide: Decide = (task, now) => {
      const next = cancel(task, now);
      failpoint("cancel.applied");
      return next;
    };
    const cancelled = await this.change(id, decide, by && { ...by, word: "cancel" });
    failpoint("cancel.ordered");
    return cancelled;
  }

  retry(id: TaskId, by?: Asker): Promise<Task> {
    return this.change(id, retryByHand, by && { ...by, word: "retry" });
  }

  answer(id: TaskId, decision: "retry" | "fail", by?: Asker): Promise<Task> {
    return this.change(id, (task, now) => answer(task, decision, now), by && { ...by, word: `answer ${decision}` });
  }

  queue(limit: number): QueueView {
    const { counts, scheduler } = this.ledger;
    const now = this.lead.parts.clock.wall();
    const head = scheduler.head(limit, now).map((task) => ({
      id: taskId(task.key),
      kind: task.spec.kind,
      ...(task.spec.name !== undefined && { name: task.spec.name }),
      ...(task.owner !== "" && { owner: task.owner }),
      priority: task.priority,
      waitedMs: Math.max(0, now - task.queuedAt),
      fairnessKey: task.spec.fairnessKey ?? task.spec.user ?? "",
    }));
    return { queued: scheduler.size, scheduled: counts.scheduled ?? 0, waiting: counts.waiting ?? 0, head };
  }

  /** As it is committed: what is told of a task is true, whatever happens next. */
  async committed(id: TaskId): Promise<TaskRecord> {
    await this.lead.turn.settled();
    return this.record(id);
  }

  /** As it was a moment ago, for a turn that looks again: live ones from the ledger, finished ones from the store. */
  private async record(id: TaskId): Promise<TaskRecord> {
    const key = taskKey(id);
    const task = this.ledger.get(key) ?? (await this.lead.parts.store.task(key));
    if (task === undefined) throw new ClusterError("not_found", `There is no task ${id}.`);
    return task;
  }

  private get ledger(): Lead["state"]["ledger"] {
    return this.lead.state.ledger;
  }

  /** The scheduler knows that a node refused the task a moment ago; what it said, as that its policy forbids it, stands with the attempt. */
  private async inTheirWords(task: TaskRecord, explanation: Explanation): Promise<Explanation> {
    if (!explanation.refused.some(({ code }) => code === "penalised")) return explanation;
    const said = new Map<NodeId, string>();
    for (const { node, outcome, error } of await this.lead.parts.store.attempts(task.key)) {
      if (outcome === "refused" && error !== undefined) said.set(node, error.message);
    }
    const refused = explanation.refused.map((one) => {
      const words = one.code === "penalised" ? said.get(one.node) : undefined;
      return words === undefined ? one : { ...one, detail: `refused it: ${words}` };
    });
    const [first] = refused.filter(({ code, node }) => code === "penalised" && said.has(node));
    return { ...explanation, refused, ...(first !== undefined && { sentence: `${explanation.sentence} ${first.node} ${first.detail}` }) };
  }

  private async change(id: TaskId, decide: Decide, by?: Asker & { readonly word: string }): Promise<Task> {
    const stored = await this.record(id);
    return this.lead.turn.run(() => {
      const outcome = changeTask(this.lead.state, stored, decide);
      if (outcome instanceof ClusterError) throw outcome;
      if (by !== undefined && by.user !== outcome.owner)
        this.lead.audit.note(by.actor, "task.changed", `${by.word} ${id}${ofOwner(outcome)}`);
      return toTask(outcome);
    });
  }
}

const ofOwner = ({ owner }: TaskRecord): string => (owner === "" ? "" : ` of ${owner}`);

/** Its node wrote it, so it is looked at like anything that comes from there; undefined where it is no result. */
function decodeResult(bytes: Uint8Array): Json | undefined {
  if (isTooDeep(bytes)) return undefined;
  try {
    const result = Json.safeParse(JSON.parse(Buffer.from(bytes).toString("utf8")));
    return result.success ? result.data : undefined;
  } catch {
    // It is no JSON, whatever else it is.
    return undefined;
  }
}
