/** The store in memory: for tests and simulations. What it holds outlives `close`, as a disk outlives its process. */
import assert from "node:assert/strict";
import type { AuditEntry } from "@openclaw-cluster/contract/audit";
import { ClusterError } from "@openclaw-cluster/contract/errors";
import type { ClusterId } from "@openclaw-cluster/contract/ids";
import type { Attempt, TaskState } from "@openclaw-cluster/contract/task";
import { isTerminal, type TaskRecord } from "../core/task.ts";
import { EMPTY_CHAIN, type ChainHead } from "../trust/audit-chain.ts";
import { fits } from "./list-filter.ts";
import type { MoveSource, StoreView } from "./store-copy.ts";
import {
  StoreFenced,
  type Batch,
  type Claim,
  type ListFilter,
  type Loaded,
  type NodeRow,
  type Page,
  type Pruned,
  type PruneOptions,
  type Rows,
  type SubmitKey,
  type TokenRow,
} from "./store.ts";

export function openRamStore(): MoveSource {
  return new RamStore();
}

/** Always the same, so that a simulation repeats itself. */
const CLUSTER = "ramstore" as ClusterId;

class RamStore implements MoveSource {
  readonly kind = "ram";
  private epoch = 0;
  private lastKey = 0;
  private readonly tasks = new Map<number, TaskRecord>();
  private readonly ended = new Map<number, Map<number, Attempt>>();
  private readonly keys = new Map<string, SubmitKey>();
  private readonly nodes = new Map<string, NodeRow>();
  private readonly tokens = new Map<string, TokenRow>();
  private readonly entries: AuditEntry[] = [];

  async claim(): Promise<Claim> {
    this.epoch += 1;
    return { cluster: CLUSTER, epoch: this.epoch };
  }

  async load(): Promise<Loaded> {
    const counts: Partial<Record<TaskState, number>> = {};
    for (const { state } of this.tasks.values()) counts[state] = (counts[state] ?? 0) + 1;
    const live = this.descending()
      .filter(({ state }) => !isTerminal(state))
      .toReversed();
    return { live, nodes: byId(this.nodes), tokens: byId(this.tokens), auditHead: headOf(this.entries), counts, lastKey: this.lastKey };
  }

  async commit(batch: Batch): Promise<void> {
    this.check(batch);
    for (const task of batch.created ?? []) {
      this.tasks.set(task.key, task);
      this.ended.set(task.key, new Map());
      this.lastKey = Math.max(this.lastKey, task.key);
    }
    for (const task of batch.changed ?? []) this.tasks.set(task.key, task);
    for (const { task, attempt } of batch.attempts ?? []) this.ended.get(task)?.set(attempt.n, attempt);
    for (const key of batch.keys ?? []) this.keys.set(keyName(key.owner, key.key), key);
    for (const id of batch.nodesRemoved ?? []) this.nodes.delete(id);
    for (const node of batch.nodes ?? []) this.nodes.set(node.id, node);
    for (const token of batch.tokens ?? []) this.tokens.set(token.id, token);
    for (const id of batch.tokensRemoved ?? []) this.tokens.delete(id);
    this.entries.push(...(batch.audit ?? []));
  }

  async task(key: number): Promise<TaskRecord | undefined> {
    return this.tasks.get(key);
  }

  async list(filter: ListFilter, { before = Infinity, limit }: { before?: number; limit: number }): Promise<Page> {
    const fitting = this.descending().filter((task) => task.key < before && fits(task, filter));
    const tasks = fitting.slice(0, limit);
    const last = tasks.at(-1);
    return fitting.length > limit && last !== undefined ? { tasks, next: last.key } : { tasks };
  }

  async attempts(key: number): Promise<readonly Attempt[]> {
    return [...(this.ended.get(key)?.values() ?? [])].sort((a, b) => a.n - b.n);
  }

  async submitKey(owner: string, key: string): Promise<SubmitKey | undefined> {
    return this.keys.get(keyName(owner, key));
  }

  async audit({ after, limit }: { after: number; limit: number }): Promise<readonly AuditEntry[]> {
    return this.entries.filter(({ seq }) => seq > after).slice(0, limit);
  }

  async prune({ endedBefore, keep = Infinity, submitsBefore = endedBefore, limit }: PruneOptions): Promise<Pruned> {
    const over = [...this.tasks.values()].filter(({ state }) => isTerminal(state));
    const old = over
      .filter(hasEnded)
      .sort((a, b) => a.endedAt - b.endedAt || a.key - b.key)
      .filter(({ endedAt }, at) => endedAt < endedBefore || at < over.length - keep)
      .slice(0, limit);
    for (const { key } of old) {
      this.tasks.delete(key);
      this.ended.delete(key);
    }
    const oldKeys = [...this.keys].filter(([, { at }]) => at < submitsBefore).slice(0, limit);
    for (const [name] of oldKeys) this.keys.delete(name);
    return { tasks: old.length, more: Math.max(old.length, oldKeys.length) >= limit };
  }

  async backup(): Promise<void> {
    throw new ClusterError("bad_request", "A store in memory has no file to copy.");
  }

  async view(): Promise<StoreView> {
    const attempts = [...this.ended].flatMap(([task, its]) => [...its.values()].map((attempt) => ({ task, attempt })));
    const pieces: Rows[] = [
      { created: this.descending().toReversed() },
      { attempts, keys: [...this.keys.values()], nodes: byId(this.nodes), tokens: byId(this.tokens), audit: [...this.entries] },
    ];
    const identity = { cluster: CLUSTER, epoch: this.epoch, lastKey: this.lastKey };
    return {
      tasks: this.tasks.size,
      release: () => undefined,
      identity: async () => identity,
      async *pieces() {
        yield* pieces;
      },
    };
  }

  leave(): Promise<Claim> {
    return this.claim();
  }

  async comeBack(): Promise<void> {}

  async retire(): Promise<void> {}

  async bytes(): Promise<undefined> {}

  async close(): Promise<void> {}

  /** Everything that could refuse the batch, before any of it is done (S1). */
  private check({ epoch, created = [], changed = [], attempts = [] }: Batch): void {
    if (this.epoch === 0 || epoch !== this.epoch) throw new StoreFenced(`epoch ${epoch} is not the newest one, ${this.epoch}`);
    const fresh = new Set<number>();
    for (const { key } of created) {
      assert(key > this.lastKey && !fresh.has(key), `task key ${key} does not follow ${this.lastKey}`);
      fresh.add(key);
    }
    for (const { key } of changed) assert(this.tasks.has(key) || fresh.has(key), `task ${key} is changed but was never created`);
    for (const { task, attempt } of attempts) {
      assert(this.tasks.has(task) || fresh.has(task), `task ${task} has an attempt but was never created`);
      assert(!this.ended.get(task)?.has(attempt.n), `attempt ${attempt.n} of task ${task} is written twice`);
    }
  }

  private descending(): TaskRecord[] {
    return [...this.tasks.values()].sort((a, b) => b.key - a.key);
  }
}

function hasEnded(task: TaskRecord): task is TaskRecord & { endedAt: number } {
  return task.endedAt !== undefined;
}

function headOf(entries: readonly AuditEntry[]): ChainHead {
  const last = entries.at(-1);
  return last === undefined ? EMPTY_CHAIN : { seq: last.seq, hash: last.hash };
}

/** With its length, so that no owner and key together read like another's. */
function keyName(owner: string, key: string): string {
  return `${owner.length} ${owner} ${key}`;
}

function byId<T>(rows: ReadonlyMap<string, T>): T[] {
  return [...rows].sort(([a], [b]) => (a < b ? -1 : 1)).map(([, row]) => row);
}
