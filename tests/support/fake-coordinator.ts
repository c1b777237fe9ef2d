/**
 * A coordinator of one page for the API's tests: tasks in a map, events by hand, real limits nowhere. Methods behave as
 * the door says, as far as the API can see.
 */
import type { BulkReport, DeadPage } from "@openclaw-cluster/contract/bulk";
import type { Backup, ClusterView } from "@openclaw-cluster/contract/cluster";
import type { ClusterEvent, TaskEvent } from "@openclaw-cluster/contract/events";
import { ClusterError } from "@openclaw-cluster/contract/errors";
import { taskId, type NodeId, type TaskId } from "@openclaw-cluster/contract/ids";
import type { Json } from "@openclaw-cluster/contract/json";
import type { Node } from "@openclaw-cluster/contract/node";
import type { Explanation } from "@openclaw-cluster/contract/placement";
import { TERMINAL, type Submitted, type Task } from "@openclaw-cluster/contract/task";
import { priorityNumber, type TaskSpec } from "@openclaw-cluster/contract/task-spec";
import type { OutputChunk } from "@openclaw-cluster/contract/wire";
import { notYours } from "../../cluster/src/core/visibility.ts";
import type { BulkOrder, Coordinator, SubmitRequest, TaskQuery } from "../../cluster/src/coordinator/coordinator.ts";
import { EXPLANATION, NODE, SAMPLE_CLUSTER, SAMPLE_NODE, STARTED_AT } from "./fake-answers.ts";
import { COORDINATOR_KEY } from "./fake-keys.ts";
import { FakeTrust } from "./fake-trust.ts";

interface Listener {
  pending: (readonly ClusterEvent[])[];
  wake: (() => void) | undefined;
}

export class FakeCoordinator extends FakeTrust implements Coordinator {
  readonly tasks = new Map<TaskId, Task>();
  readonly requests: SubmitRequest[] = [];
  readonly listFilters: TaskQuery[] = [];
  readonly orders: BulkOrder[] = [];
  readonly patches: unknown[] = [];
  readonly removals: NodeId[] = [];
  readonly output = new Map<TaskId, OutputChunk[]>();
  /** Runs before each submit answers, after the tasks are made. */
  beforeAnswer: (submitted: readonly Submitted[]) => void | Promise<void> = () => undefined;
  /** Events kept for a listener that comes back. */
  kept: ClusterEvent[] = [];
  /** Open readers of output. */
  reading = 0;
  private readonly copies: Backup[] = [];
  /** What the cluster's view says beyond that of one machine. */
  shared: Partial<ClusterView> = {};
  private readonly keys = new Map<string, { bodyHash: string; submitted: readonly Submitted[] }>();
  private readonly listeners = new Set<Listener>();
  private nextEvent = 1;
  private nodeRow: Node = SAMPLE_NODE;

  /** Whose submits are refused, and how. */
  readonly planners: Pick<SubmitRequest, "owner" | "token">[] = [];
  refused: ((owner: string) => ClusterError | undefined) | undefined;
  readonly admission = this.openAdmission();

  private openAdmission(): Coordinator["admission"] {
    const isFull = (): boolean => this.refused !== undefined;
    return {
      get isFull() {
        return isFull();
      },
      refusal: (owner) => this.refused?.(owner),
      admit: (owner) => this.refused?.(owner) ?? { leave: () => undefined },
    };
  }

  get listening(): number {
    return this.listeners.size;
  }

  /** Commits that were published, and that listeners have not asked for yet. */
  get unread(): number {
    return [...this.listeners].reduce((sum, { pending }) => sum + pending.length, 0);
  }

  publish(...events: ClusterEvent[]): void {
    this.kept.push(...events);
    for (const listener of this.listeners) {
      listener.pending.push(events);
      listener.wake?.();
    }
  }

  /** Ends these tasks, and tells of all of them together. */
  finish(ids: readonly TaskId[], end: Partial<Pick<Task, "state" | "result" | "error">> = {}): void {
    this.publish(...ids.map((id) => this.taskEvent(id, { state: "succeeded", reason: "done", endedAt: STARTED_AT, ...end })));
  }

  taskEvent(id: TaskId, change: Partial<Task>): TaskEvent {
    const task = { ...this.found(id), seq: this.found(id).seq + 1, attempt: 1, node: NODE, ...change };
    this.tasks.set(id, task);
    const { state, reason, seq, attempt, node, result, error, owner } = task;
    const small = result !== undefined && JSON.stringify(result).length <= 4_096;
    return {
      id: this.nextEvent++,
      at: STARTED_AT,
      type: "task",
      task: id,
      state,
      reason,
      seq,
      attempt,
      node,
      ...(small && { result }),
      ...(error !== undefined && { error }),
      ...(owner !== undefined && { owner }),
    };
  }

  async submit(request: SubmitRequest): Promise<readonly Submitted[]> {
    this.check();
    this.requests.push(request);
    const { idempotency } = request;
    const known = idempotency === undefined ? undefined : this.keys.get(`${request.owner} ${idempotency.key}`);
    if (known !== undefined) {
      if (known.bodyHash !== idempotency?.bodyHash) throw new ClusterError("idempotency_mismatch", "This key was used with another body.");
      return known.submitted.map(({ id }) => ({ id, state: this.found(id).state, replayed: true }));
    }
    const submitted = request.specs.map((spec): Submitted => ({ id: this.make(spec, request.owner), state: "queued" }));
    if (idempotency !== undefined) this.keys.set(`${request.owner} ${idempotency.key}`, { bodyHash: idempotency.bodyHash, submitted });
    await this.beforeAnswer(submitted);
    return submitted;
  }

  plan(specs: readonly TaskSpec[], by: Pick<SubmitRequest, "owner" | "token">): readonly Explanation[] {
    this.check();
    this.planners.push(by);
    return specs.map(() => EXPLANATION);
  }

  async task(id: TaskId): Promise<Task> {
    return this.found(id);
  }

  async waitFor(id: TaskId, ms: number, signal: AbortSignal): Promise<Task> {
    // As the real one: what is over is answered at once.
    if (TERMINAL.has(this.found(id).state)) return this.found(id);
    const deadline = performance.now() + ms;
    for await (const _events of this.events(undefined, AbortSignal.any([signal, AbortSignal.timeout(ms)]))) {
      if (TERMINAL.has(this.found(id).state) || performance.now() >= deadline) break;
    }
    return this.found(id);
  }

  async list(
    filter: TaskQuery,
    { before = Infinity, limit }: { before?: number; limit: number },
  ): Promise<{ tasks: Task[]; next?: number }> {
    this.check();
    this.listFilters.push(filter);
    const all = [...this.tasks.values()]
      .reverse()
      .filter(({ id, state }) => Number(id.slice(1)) < before && (filter.states?.includes(state) ?? true))
      .filter(({ owner }) => filter.owner === undefined || owner === filter.owner);
    const tasks = all.slice(0, limit);
    const last = tasks.at(-1);
    return { tasks, ...(all.length > limit && last !== undefined && { next: Number(last.id.slice(1)) }) };
  }

  /** Two at a time, so that whoever wants more must go on. */
  async bulk(order: BulkOrder): Promise<BulkReport> {
    this.orders.push(order);
    const { filter, act, dryRun, before = Infinity, only } = order;
    const open = (id: TaskId): boolean => TERMINAL.has(this.found(id).state) === (act.kind === "retry");
    const { tasks, next } = await this.list(filter, { before, limit: 2 });
    const matched = tasks.filter(({ id }) => open(id));
    const foreign = matched.filter(({ owner }) => only !== undefined && owner !== only);
    const stubborn = dryRun === true ? [] : matched.filter((task) => task.spec.name === "stubborn" && !foreign.includes(task));
    const refused = [...foreign, ...stubborn];
    const changed = dryRun === true ? [] : matched.filter((task) => !refused.includes(task));
    for (const { id } of changed) await (act.kind === "answer" ? this.answer(id, act.decision) : this[act.kind](id));
    return {
      matched: matched.length,
      changed: changed.length,
      refused: refused.length,
      refusals: [
        ...foreign.map(({ id, owner }) => ({ id, code: "forbidden" as const, detail: notYours(id, owner).detail })),
        ...stubborn.map(({ id }) => ({ id, code: "state_conflict" as const, detail: `${id} is stubborn.` })),
      ],
      ...(next !== undefined && { next }),
    };
  }

  async deadLetters({ owner: whose }: { owner?: string } = {}): Promise<DeadPage> {
    this.check();
    const failed = [...this.tasks.values()].filter(({ state, owner }) => state === "failed" && (whose ?? owner) === owner);
    const examples = failed.map(({ id }) => id);
    const group = {
      alike: "agent_failed-00c0ffee",
      code: "agent_failed" as const,
      what: failed[0]?.error?.message ?? "format: no",
      nodes: [NODE],
      lastEndedAt: STARTED_AT,
    };
    return { groups: failed.length === 0 ? [] : [{ ...group, count: failed.length, examples }], tasks: failed.length };
  }

  async why(id: TaskId): Promise<Explanation> {
    this.found(id);
    return EXPLANATION;
  }

  async attempts(id: TaskId) {
    const { error } = this.found(id);
    const running = { n: 1, node: NODE, epoch: 1, state: "running" as const, offeredAt: STARTED_AT, startedAt: STARTED_AT };
    return [{ ...running, ...(error !== undefined && { error }) }];
  }

  async result(id: TaskId): Promise<Json> {
    const { result } = this.found(id);
    if (result === undefined) throw new ClusterError("state_conflict", "The task has no result yet.");
    return result;
  }

  async *logs(
    id: TaskId,
    { follow, attempt, signal }: { follow: boolean; attempt?: number; signal: AbortSignal },
  ): AsyncGenerator<OutputChunk> {
    const chunks = this.output.get(id) ?? [];
    this.reading += 1;
    try {
      for (let next = 0; ;) {
        for (; next < chunks.length; next++)
          if (attempt === undefined || chunks[next]?.attempt === attempt) yield chunks[next] as OutputChunk;
        if (!follow || TERMINAL.has(this.found(id).state) || signal.aborted) return;
        for await (const _events of this.events(undefined, signal)) break;
      }
    } finally {
      this.reading -= 1;
    }
  }

  async cancel(id: TaskId): Promise<Task> {
    if (TERMINAL.has(this.found(id).state)) throw new ClusterError("state_conflict", "The task is over.");
    this.publish(this.taskEvent(id, { state: "cancelled", reason: "cancel_requested", endedAt: STARTED_AT }));
    return this.found(id);
  }

  async retry(id: TaskId): Promise<Task> {
    this.publish(this.taskEvent(id, { state: "queued", reason: "retried_by_hand" }));
    return this.found(id);
  }

  async answer(id: TaskId, decision: "retry" | "fail"): Promise<Task> {
    this.publish(
      this.taskEvent(
        id,
        decision === "retry" ? { state: "queued", reason: "answered_retry" } : { state: "failed", reason: "answered_fail" },
      ),
    );
    return this.found(id);
  }

  queue(limit: number) {
    this.check();
    const waiting = [...this.tasks.values()].filter(({ state }) => state === "queued");
    const head = waiting
      .slice(0, limit)
      .map(({ id, kind, priority, owner = "" }) => ({ id, kind, owner, priority, waitedMs: 5, fairnessKey: "" }));
    return {
      queued: waiting.length,
      scheduled: 0,
      waiting: [...this.tasks.values()].filter(({ state }) => state === "waiting").length,
      head,
    };
  }

  async backup() {
    this.check();
    const backup = { name: "cluster-2026-11-23T03-00-00-000Z.db", at: STARTED_AT, bytes: 4_096 };
    this.copies.unshift(backup);
    return { ...backup, path: `/backups/${backup.name}`, tasks: this.tasks.size };
  }

  async backups() {
    this.check();
    return this.copies;
  }

  async cluster(): Promise<ClusterView> {
    this.check();
    return { ...SAMPLE_CLUSTER, tasks: { queued: this.tasks.size }, ...this.shared };
  }

  health() {
    this.check();
    return { status: "ok" as const, problems: [], checkedAt: STARTED_AT };
  }

  async *events(after: number | undefined, signal: AbortSignal): AsyncGenerator<readonly ClusterEvent[]> {
    const listener: Listener = { pending: [], wake: undefined };
    const missed = after === undefined ? [] : this.kept.filter(({ id }) => id > after);
    const oldest = this.kept[0]?.id ?? this.nextEvent;
    if (after !== undefined && after + 1 < oldest) listener.pending.push([{ id: this.nextEvent - 1, at: STARTED_AT, type: "gap" }]);
    else if (missed.length > 0) listener.pending.push(missed);
    this.listeners.add(listener);
    const wake = (): void => listener.wake?.();
    signal.addEventListener("abort", wake);
    try {
      while (!signal.aborted) {
        for (let next = listener.pending.shift(); next !== undefined; next = listener.pending.shift()) yield next;
        if (!signal.aborted && listener.pending.length === 0) await new Promise<void>((resolve) => (listener.wake = resolve));
      }
    } finally {
      this.listeners.delete(listener);
      signal.removeEventListener("abort", wake);
    }
  }

  nodes(): readonly Node[] {
    this.check();
    return [this.nodeRow];
  }

  node(id: NodeId): Node {
    this.check();
    if (id !== NODE) throw new ClusterError("not_found", `There is no node ${id}.`);
    return this.nodeRow;
  }

  nodeHealth(id: NodeId) {
    this.node(id);
    return this.health();
  }

  async enrol({ id }: { id: NodeId }) {
    this.check();
    return { node: id, cluster: "abcd1234", busUrls: ["nats://127.0.0.1:4222"], coordinatorKey: COORDINATOR_KEY, epoch: 1 };
  }

  async approveNode(id: NodeId): Promise<Node> {
    return this.node(id);
  }

  async revokeNode(id: NodeId): Promise<Node> {
    return this.node(id);
  }

  async patchNode(id: NodeId, patch: unknown): Promise<Node> {
    this.patches.push(patch);
    return this.node(id);
  }

  /** The one node is otherwise now. */
  changeNode(change: Partial<Node>): void {
    this.nodeRow = { ...this.nodeRow, ...change };
  }

  async drain(id: NodeId, draining: boolean): Promise<Node> {
    this.nodeRow = { ...this.node(id), draining };
    return this.nodeRow;
  }

  async shutdownNode(id: NodeId): Promise<Node> {
    return this.node(id);
  }

  async promoteNode(id: NodeId): Promise<Node> {
    return this.node(id);
  }

  async demoteNode(id: NodeId): Promise<Node> {
    return this.node(id);
  }

  async removeNode(id: NodeId): Promise<Node> {
    const node = this.node(id);
    this.removals.push(id);
    return node;
  }

  async stop(): Promise<void> {}

  async abandon(): Promise<void> {}

  async lastWord(): Promise<void> {}

  private make(spec: TaskSpec, owner: string): TaskId {
    const id = taskId(this.tasks.size + 1);
    this.tasks.set(id, {
      id,
      kind: spec.kind,
      owner,
      state: "queued",
      reason: "submitted",
      seq: 1,
      attempt: 0,
      priority: priorityNumber(spec.priority),
      createdAt: STARTED_AT,
      spec,
    });
    return id;
  }

  private found(id: TaskId): Task {
    this.check();
    const task = this.tasks.get(id);
    if (task === undefined) throw new ClusterError("not_found", `There is no task ${id}.`);
    return task;
  }
}
