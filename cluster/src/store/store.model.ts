/**
 * What any store must do, as the plainest program that does it. The rules stand here a second time on purpose: nothing is
 * shared with the stores.
 */
import { expect } from "vitest";
import type { AuditEntry } from "@openclaw-cluster/contract/audit";
import { TaskState, type Attempt } from "@openclaw-cluster/contract/task";
import type { TaskRecord } from "../core/task.ts";
import type { Step } from "./store.histories.ts";
import { StoreFenced, type Batch, type ListFilter, type NodeRow, type Page, type Store, type SubmitKey, type TokenRow } from "./store.ts";

export class Model {
  epoch = 0;
  lastKey = 0;
  readonly tasks = new Map<number, TaskRecord>();
  readonly attempts = new Map<number, Attempt[]>();
  readonly keys = new Map<string, SubmitKey>();
  readonly nodes = new Map<string, NodeRow>();
  readonly tokens = new Map<string, TokenRow>();
  readonly audit: AuditEntry[] = [];

  /** The batch that the step means in the present state, after which the model has it too. */
  commit(step: Extract<Step, { kind: "commit" }>): Batch {
    const present = [...this.tasks.keys()];
    const created = step.created.map(({ skip, ...task }) => {
      this.lastKey += 1 + skip;
      return { ...task, key: this.lastKey };
    });
    for (const task of created) this.tasks.set(task.key, task);
    const changed = new Map<number, TaskRecord>();
    for (const { of, to } of step.changed) {
      const before = this.tasks.get(present[of % present.length] ?? 0);
      if (before === undefined) continue;
      const { key, spec: its, priority, owner, token, createdAt } = before;
      changed.set(key, { key, spec: its, priority, owner, token, createdAt, ...to });
    }
    for (const [key, task] of changed) this.tasks.set(key, task);
    const attempts = step.attempts.flatMap(({ of, attempt: partial }) => {
      const key = [...this.tasks.keys()][of % this.tasks.size];
      if (key === undefined) return [];
      const before = this.attempts.get(key) ?? [];
      const row = { ...partial, n: before.length + 1 };
      this.attempts.set(key, [...before, row]);
      return [{ task: key, attempt: row }];
    });
    for (const key of step.rest.keys ?? []) this.keys.set(JSON.stringify([key.owner, key.key]), key);
    for (const id of step.rest.nodesRemoved ?? []) this.nodes.delete(id);
    for (const row of step.rest.nodes ?? []) this.nodes.set(row.id, row);
    for (const row of step.rest.tokens ?? []) this.tokens.set(row.id, row);
    for (const id of step.rest.tokensRemoved ?? []) this.tokens.delete(id);
    const audit = step.audit.map((object, n): AuditEntry => {
      const seq = this.audit.length + n + 1;
      return { seq, at: seq, actor: "model", action: "token.made", object, hash: `hash ${seq}` };
    });
    this.audit.push(...audit);
    return { epoch: this.epoch, created, changed: [...changed.values()], attempts, audit, ...step.rest };
  }

  prune({ endedBefore, keep, submitsBefore = endedBefore }: Extract<Step, { kind: "prune" }>): number {
    const finished = [...this.tasks.values()].filter(over);
    const ends = finished.filter((task) => task.endedAt !== undefined) as (TaskRecord & { endedAt: number })[];
    ends.sort((a, b) => a.endedAt - b.endedAt || a.key - b.key);
    const beyond = ends.slice(0, keep === undefined ? 0 : Math.max(0, finished.length - keep));
    const old = ends.filter((task) => task.endedAt < endedBefore || beyond.includes(task));
    for (const { key } of old) {
      this.tasks.delete(key);
      this.attempts.delete(key);
    }
    for (const [name, { at }] of this.keys) if (at < submitsBefore) this.keys.delete(name);
    return old.length;
  }

  list(filter: ListFilter): TaskRecord[] {
    return [...this.tasks.values()].sort((a, b) => b.key - a.key).filter((task) => fits(task, filter));
  }
}

function over(task: TaskRecord): boolean {
  return ["succeeded", "failed", "cancelled"].includes(task.state);
}

const DEAD = ["attempts_spent", "not_retryable", "poison", "node_losses_spent", "outcome_unknown"];

function fits(task: TaskRecord, filter: ListFilter): boolean {
  if (filter.dead && !(task.state === "failed" && DEAD.includes(task.reason))) return false;
  if (filter.states && !filter.states.includes(task.state)) return false;
  if (filter.kind && task.spec.kind !== filter.kind) return false;
  if (filter.name && task.spec.name !== filter.name) return false;
  if (filter.user && task.spec.user !== filter.user) return false;
  if (filter.owner && task.owner !== filter.owner) return false;
  if (
    filter.label &&
    !Object.entries(task.spec.labels ?? {}).some(([name, value]) => name === filter.label?.[0] && value === filter.label[1])
  )
    return false;
  const last = over(task) || task.state === "waiting" ? task.placement?.node : undefined;
  return !filter.node || (task.lease?.node ?? last) === filter.node;
}

/** Carries out one step on both. Returns the store to go on with. */
export async function play(model: Model, store: Store, step: Step, reopen: () => Promise<Store>): Promise<Store> {
  switch (step.kind) {
    case "commit":
      await store.commit(model.commit(step));
      return store;
    case "claim":
      model.epoch = (await store.claim()).epoch;
      return store;
    case "stale":
      await expect(store.commit({ epoch: model.epoch - 1, tokensRemoved: [...model.tokens.keys()] })).rejects.toThrow(StoreFenced);
      return store;
    case "reopen": {
      const next = await reopen();
      model.epoch = (await next.claim()).epoch;
      return next;
    }
    case "prune":
      expect(await store.prune({ ...step, limit: 1_000 })).toMatchObject({ tasks: model.prune(step) });
      return store;
  }
}

export async function compare(model: Model, store: Store, filter: ListFilter): Promise<void> {
  const { live, nodes, tokens, auditHead, counts, lastKey } = await store.load();
  expect(live).toStrictEqual(
    model
      .list({})
      .filter((task) => !over(task))
      .toReversed(),
  );
  expect(new Set(nodes)).toStrictEqual(new Set(model.nodes.values()));
  expect(new Set(tokens)).toStrictEqual(new Set(model.tokens.values()));
  expect(auditHead).toStrictEqual({ seq: model.audit.length, hash: model.audit.at(-1)?.hash ?? "" });
  expect(await store.audit({ after: 1, limit: 2 })).toStrictEqual(model.audit.slice(1, 3));
  expect(lastKey).toBe(model.lastKey);
  for (const state of TaskState.options) expect(counts[state] ?? 0).toBe(model.list({ states: [state] }).length);
  for (const [key, task] of model.tasks) {
    expect(await store.task(key)).toStrictEqual(task);
    expect(await store.attempts(key)).toStrictEqual(model.attempts.get(key) ?? []);
  }
  for (const key of model.keys.values()) expect(await store.submitKey(key.owner, key.key)).toStrictEqual(key);
  expect(await walk(store, filter, 2)).toStrictEqual(model.list(filter));
}

/** All pages, one after the other. */
export async function walk(store: Store, filter: ListFilter, limit: number): Promise<TaskRecord[]> {
  const tasks: TaskRecord[] = [];
  let page: Page = { tasks: [], next: Number.MAX_SAFE_INTEGER };
  while (page.next !== undefined) {
    const before: number = page.next;
    page = await store.list(filter, { before, limit });
    expect(page.tasks.length).toBeLessThanOrEqual(limit);
    if (page.next !== undefined) expect(page.next).toBeLessThan(before);
    tasks.push(...page.tasks);
  }
  return tasks;
}
