/**
 * What was committed while a store is copied, to be written into the copy afterwards. A row that changed many times is kept once,
 * as it was last: nobody reads the copy before it is whole, so only where it ends matters.
 *
 * C1. Written after what the view gave, in the order of `take`, it makes of the copy what the store is.
 * C2. No row stands twice in one `take`.
 */
import type { NodeId } from "@openclaw-cluster/contract/ids";
import type { AuditEntry } from "@openclaw-cluster/contract/audit";
import type { TaskRecord } from "../core/task.ts";
import type { AttemptRow, NodeRow, Rows, SubmitKey, TokenRow } from "./store.ts";

/** A commit of so many is written in some 10 ms, into SQLite as into etcd. */
const ROWS_PER_PIECE = 256;

interface ChangedTask {
  readonly task: TaskRecord;
  /** It was made since the last `take`. */
  readonly isNew: boolean;
}

export class Changes {
  private tasks = new Sized<number, ChangedTask>();
  private attempts = new Sized<string, AttemptRow>();
  private keys = new Sized<string, SubmitKey>();
  private nodes = new Sized<NodeId, NodeRow | undefined>();
  private tokens = new Sized<string, TokenRow | undefined>();
  private audit = new Sized<number, AuditEntry>();

  note({ created = [], changed = [], attempts = [], keys = [], nodesRemoved = [], nodes = [], ...rest }: Rows): void {
    const { tokens = [], tokensRemoved = [], audit = [] } = rest;
    for (const task of created) this.tasks.set(task.key, { task, isNew: true });
    for (const task of changed) this.tasks.set(task.key, { task, isNew: this.tasks.get(task.key)?.isNew === true });
    for (const row of attempts) this.attempts.set(attemptName(row), row);
    for (const key of keys) this.keys.set(JSON.stringify([key.owner, key.key]), key);
    for (const id of nodesRemoved) this.nodes.set(id, undefined);
    for (const node of nodes) this.nodes.set(node.id, node);
    for (const token of tokens) this.tokens.set(token.id, token);
    for (const id of tokensRemoved) this.tokens.set(id, undefined);
    for (const entry of audit) this.audit.set(entry.seq, entry);
  }

  get rows(): number {
    return this.all.reduce((count, { size }) => count + size, 0);
  }

  /** As JSON. */
  get bytes(): number {
    return this.all.reduce((bytes, its) => bytes + its.bytes, 0);
  }

  /** All of it, each piece for a commit of its own; none of it stays. */
  take(): Rows[] {
    const tasks = this.tasks.values();
    const its: Required<Rows> = {
      created: tasks.filter(({ isNew }) => isNew).map(({ task }) => task),
      changed: tasks.filter(({ isNew }) => !isNew).map(({ task }) => task),
      attempts: this.attempts.values(),
      keys: this.keys.values(),
      nodesRemoved: this.nodes.gone(),
      nodes: this.nodes.values().filter((node) => node !== undefined),
      tokensRemoved: this.tokens.gone(),
      tokens: this.tokens.values().filter((token) => token !== undefined),
      audit: this.audit.values(),
    };
    this.drop();
    return [...piecesOf(its)];
  }

  drop(): void {
    this.tasks = new Sized();
    this.attempts = new Sized();
    this.keys = new Sized();
    this.nodes = new Sized();
    this.tokens = new Sized();
    this.audit = new Sized();
  }

  private get all(): readonly { readonly size: number; readonly bytes: number }[] {
    return [this.tasks, this.attempts, this.keys, this.nodes, this.tokens, this.audit];
  }
}

export function attemptName({ task, attempt }: AttemptRow): string {
  return `${task}/${attempt.n}`;
}

/** A map that knows how large it is. A key that it has keeps its place: new tasks stay in the order of their keys. */
class Sized<Key, Value> {
  bytes = 0;
  private readonly kept = new Map<Key, { readonly value: Value; readonly bytes: number }>();

  get size(): number {
    return this.kept.size;
  }

  get(key: Key): Value | undefined {
    return this.kept.get(key)?.value;
  }

  set(key: Key, value: Value): void {
    const bytes = JSON.stringify(value)?.length ?? 0;
    this.bytes += bytes - (this.kept.get(key)?.bytes ?? 0);
    this.kept.set(key, { value, bytes });
  }

  values(): Value[] {
    return [...this.kept.values()].map(({ value }) => value);
  }

  /** What is kept as removed. */
  gone(): Key[] {
    return [...this.kept].filter(([, { value }]) => value === undefined).map(([key]) => key);
  }
}

function* piecesOf(all: Required<Rows>): Generator<Rows> {
  const rows = Object.entries(all).flatMap(([kind, its]) => its.map((row) => [kind, row] as const));
  for (let at = 0; at < rows.length; at += ROWS_PER_PIECE) {
    const piece: Record<string, unknown[]> = {};
    for (const [kind, row] of rows.slice(at, at + ROWS_PER_PIECE)) (piece[kind] ??= []).push(row);
    yield piece as Rows;
  }
}
