/**
 * What the log says, in memory: every live task, node and token, and as an overlay all else that is not folded yet. The writer
 * and those who follow it keep the same one.
 *
 * I1. It is what the head and the entries after it say, no more and no less; entries are applied in their order, each once.
 * I2. What the overlay holds carries the entry of its last change, and leaves when a head has passed that entry.
 * I3. The overlay is no larger than the log after the head.
 */
import type { NodeId } from "@openclaw-cluster/contract/ids";
import type { AuditEntry } from "@openclaw-cluster/contract/audit";
import type { Attempt } from "@openclaw-cluster/contract/task";
import { isTerminal, type TaskRecord } from "../core/task.ts";
import type { ChainHead } from "../trust/audit-chain.ts";
import { sum, type Counts, type Head, type Reopened } from "./etcd-codec.ts";
import { submitHash } from "./etcd-keys.ts";
import type { Loaded, NodeRow, Rows, SubmitKey, TokenRow } from "./store.ts";

/** A task that changed since the head. */
export interface PendingTask {
  readonly task: TaskRecord;
  readonly seq: number;
  /** In which entry it was made, if that is after the head. */
  readonly createdSeq: number | undefined;
  /** It was finished before, and is written again: what was kept of that goes. */
  readonly wasOver: boolean;
  readonly endedBefore: readonly number[];
}

export interface Applied {
  readonly seq: number;
  readonly bytes: number;
  readonly counts: Counts;
  readonly reopened: readonly Reopened[];
  readonly rows: Rows;
}

type Stamped<T> = T & { readonly seq: number };

export class Image {
  head: Head;
  /** The last entry that is applied. */
  seq: number;
  /** etcd's revision up to which it was heard. */
  revision: number;
  readonly live = new Map<number, TaskRecord>();
  readonly nodes = new Map<NodeId, NodeRow>();
  readonly tokens = new Map<string, TokenRow>();
  readonly tasks = new Map<number, PendingTask>();
  readonly attempts = new Map<number, Map<number, Stamped<{ attempt: Attempt }>>>();
  readonly submits = new Map<string, Stamped<{ key: SubmitKey }>>();
  readonly entries: Stamped<{ entry: AuditEntry }>[] = [];
  readonly nodesChanged = new Map<NodeId, number>();
  readonly tokensChanged = new Map<string, number>();
  private readonly log: { seq: number; bytes: number; counts: Counts }[] = [];
  private last: { key: number; audit: ChainHead };
  private logBytes = 0;
  private isSorted = true;
  /** Of the keys that were ever live here. */
  private greatest = 0;

  constructor(head: Head, revision: number) {
    this.head = head;
    this.seq = head.applied;
    this.revision = revision;
    this.last = { key: head.lastKey, audit: head.audit };
  }

  get lastKey(): number {
    return this.last.key;
  }

  get auditHead(): ChainHead {
    return this.last.audit;
  }

  /** Of the log after the head. */
  get unfolded(): { readonly entries: number; readonly bytes: number } {
    return { entries: this.log.length, bytes: this.logBytes };
  }

  counts(): Counts {
    return this.log.reduce((counts, entry) => sum(counts, entry.counts), this.head.counts);
  }

  /** Keys ascending. */
  liveTasks(): TaskRecord[] {
    if (!this.isSorted) {
      const sorted = [...this.live].sort(([a], [b]) => a - b);
      this.live.clear();
      for (const [key, task] of sorted) this.live.set(key, task);
      this.isSorted = true;
    }
    return [...this.live.values()];
  }

  loaded(): Loaded {
    return {
      live: this.liveTasks(),
      nodes: byId(this.nodes),
      tokens: byId(this.tokens),
      auditHead: this.auditHead,
      counts: this.counts(),
      lastKey: this.lastKey,
    };
  }

  apply({ seq, bytes, counts, reopened, rows }: Applied): void {
    const before = new Map(reopened);
    for (const task of rows.created ?? []) {
      this.put(task, { seq, createdSeq: seq, wasOver: false, endedBefore: [] });
      this.last.key = Math.max(this.last.key, task.key);
    }
    for (const task of rows.changed ?? []) {
      const { createdSeq, wasOver = false, endedBefore = [] } = this.tasks.get(task.key) ?? {};
      const ended = before.get(task.key);
      const ends = ended === undefined || ended === null ? endedBefore : [...endedBefore, ended];
      this.put(task, { seq, createdSeq, wasOver: wasOver || ended !== undefined, endedBefore: ends });
    }
    for (const { task, attempt } of rows.attempts ?? []) {
      const its = this.attempts.get(task) ?? new Map<number, Stamped<{ attempt: Attempt }>>();
      this.attempts.set(task, its.set(attempt.n, { attempt, seq }));
    }
    for (const key of rows.keys ?? []) this.submits.set(submitHash(key.owner, key.key), { key, seq });
    this.applyMembers(rows, seq);
    for (const entry of rows.audit ?? []) this.entries.push({ entry, seq });
    const { audit } = this.last;
    const newest = rows.audit?.at(-1);
    this.last = { key: this.last.key, audit: newest === undefined ? audit : { seq: newest.seq, hash: newest.hash } };
    this.log.push({ seq, bytes, counts });
    this.logBytes += bytes;
    this.seq = seq;
  }

  /** The log is folded up to there: what is not newer is found where it was folded to. */
  passed(head: Head): void {
    this.head = head;
    const isPassed = (seq: number): boolean => seq <= head.applied;
    for (const { bytes } of this.log.splice(0, this.log.filter(({ seq }) => isPassed(seq)).length)) this.logBytes -= bytes;
    this.entries.splice(0, this.entries.filter(({ seq }) => isPassed(seq)).length);
    for (const [key, pending] of this.tasks) {
      if (isPassed(pending.seq)) this.tasks.delete(key);
      else if (pending.createdSeq !== undefined && isPassed(pending.createdSeq)) this.tasks.set(key, { ...pending, createdSeq: undefined });
    }
    for (const [task, its] of this.attempts) {
      for (const [n, { seq }] of its) if (isPassed(seq)) its.delete(n);
      if (its.size === 0) this.attempts.delete(task);
    }
    for (const [hash, { seq }] of this.submits) if (isPassed(seq)) this.submits.delete(hash);
    for (const [id, seq] of this.nodesChanged) if (isPassed(seq)) this.nodesChanged.delete(id);
    for (const [id, seq] of this.tokensChanged) if (isPassed(seq)) this.tokensChanged.delete(id);
  }

  /** A live task as it was folded, or as it is now. */
  enter(task: TaskRecord): void {
    this.greatest = Math.max(this.greatest, task.key);
    this.live.set(task.key, task);
  }

  private put(task: TaskRecord, about: Omit<PendingTask, "task">): void {
    this.tasks.set(task.key, { task, ...about });
    if (isTerminal(task.state)) return void this.live.delete(task.key);
    // A map keeps the place of a key that it has. One that comes back, or that half a fold had brought after later ones, is out of order.
    if (!this.live.has(task.key)) this.isSorted &&= task.key > this.greatest;
    this.enter(task);
  }

  private applyMembers({ nodesRemoved = [], nodes = [], tokens = [], tokensRemoved = [] }: Rows, seq: number): void {
    for (const id of nodesRemoved) this.nodes.delete(id);
    for (const node of nodes) this.nodes.set(node.id, node);
    for (const token of tokens) this.tokens.set(token.id, token);
    for (const id of tokensRemoved) this.tokens.delete(id);
    for (const id of [...nodesRemoved, ...nodes.map((node) => node.id)]) this.nodesChanged.set(id, seq);
    for (const id of [...tokensRemoved, ...tokens.map((token) => token.id)]) this.tokensChanged.set(id, seq);
  }
}

function byId<Id extends string, T>(rows: ReadonlyMap<Id, T>): T[] {
  return [...rows].sort(([a], [b]) => (a < b ? -1 : 1)).map(([, row]) => row);
}
