/**
 * The store's door: where the truth is kept. One coordinator writes at a time; its epoch is checked in every commit.
 *
 * S1. `commit` is atomic and durable: when it resolves, all of the batch survives power loss; when it rejects, none of
 *     it is visible, or the process must end (an I/O error leaves the outcome unknown; see `StoreBroken`).
 * S2. A commit under an epoch older than the newest claimed one is refused with `StoreFenced` and changes nothing.
 * S3. Reads see every commit that resolved before they were called.
 * S4. Task keys are given by the caller, grow, and are never reused; a spec is written once and never rewritten.
 * S5. Batches may be split by an implementation with a limit on operations (etcd: 128), if S1 holds for what a caller
 *     can see: `keys` and `created` become visible together.
 *
 * This door stays under fifteen methods; widening it needs a page in docs/decisions/.
 */
import type { AuditEntry } from "@openclaw-cluster/contract/audit";
import type { ClusterId, NodeId } from "@openclaw-cluster/contract/ids";
import type { JoinedFrom, NodeFacts } from "@openclaw-cluster/contract/node";
import type { Scope } from "@openclaw-cluster/contract/scopes";
import type { Attempt, TaskState } from "@openclaw-cluster/contract/task";
import type { Labels, TaskKind } from "@openclaw-cluster/contract/task-spec";
import type { TaskRecord } from "../core/task.ts";
import type { ChainHead } from "../trust/audit-chain.ts";

/** An attempt that failed, was refused or was lost. One that succeeded is told by the task's own record. */
export interface AttemptRow {
  readonly task: number;
  readonly attempt: Attempt;
}

/** One accepted idempotency key. `runs` are [first key, count] pairs of the tasks that the submit made or found. */
export interface SubmitKey {
  /** The user whose key it is. */
  readonly owner: string;
  readonly key: string;
  /** SHA-256 of the body, base64url. */
  readonly bodyHash: string;
  readonly runs: readonly (readonly [first: number, count: number])[];
  readonly at: number;
}

export interface NodeRow {
  readonly id: NodeId;
  /** Public nkey, `U…`. */
  readonly publicKey: string;
  readonly state: "pending" | "approved" | "revoked";
  readonly draining: boolean;
  /** Set by an operator, laid over the node's own. */
  readonly labels: Labels;
  readonly slots?: number;
  readonly registeredAt: number;
  readonly succeeded: number;
  readonly failed: number;
  /** As last reported. */
  readonly facts?: NodeFacts;
  /** What a machine that joined said of itself, for whoever approves it. */
  readonly hostname?: string;
  readonly os?: string;
  /** Where it came from, and what Tailscale said of that. */
  readonly joinedFrom?: JoinedFrom;
  /** When it was last heard before it left, by the wall clock. */
  readonly lastSeenAt?: number;
  /** Until then, by the wall clock, a coordinator that went down in good order has let it go on with what it runs. */
  readonly pausedUntil?: number;
}

export interface TokenRow {
  readonly id: string;
  /** SHA-256 of the secret, base64url. */
  readonly hash: string;
  /** join: no token of the API but an invitation, whose `hash` is the key of its proofs (trust/join-proof.ts). */
  readonly scope: Scope | "join";
  readonly name: string;
  /** For whom it speaks; its name unless said. */
  readonly user?: string;
  readonly createdAt: number;
  readonly expiresAt?: number;
  readonly invite?: InviteTerms;
  /** The secret of before a rotation, good for a while yet. */
  readonly previous?: { readonly hash: string; readonly until: number };
}

/** One that opens the API. */
export type ApiTokenRow = TokenRow & { readonly scope: Scope };

export interface InviteTerms {
  /** The node is let in at once. */
  readonly approve: boolean;
  /** Only this id. */
  readonly node?: NodeId;
  /** The public key that has used it: a repeated request of that one is answered again. */
  readonly usedBy?: string;
}

export interface Batch {
  readonly epoch: number;
  /** New tasks, keys ascending. */
  readonly created?: readonly TaskRecord[];
  /** Records whose state changed; the spec is not written again. At most one of each key. */
  readonly changed?: readonly TaskRecord[];
  readonly attempts?: readonly AttemptRow[];
  readonly keys?: readonly SubmitKey[];
  /** Before `nodes` are written: an id that stands in both is that of a new node. */
  readonly nodesRemoved?: readonly NodeId[];
  /** Replaced whole. */
  readonly nodes?: readonly NodeRow[];
  readonly tokens?: readonly TokenRow[];
  readonly tokensRemoved?: readonly string[];
  /** The entries that follow the last one, in their order. */
  readonly audit?: readonly AuditEntry[];
}

/** What a batch writes. */
export type Rows = Omit<Batch, "epoch">;

export interface Claim {
  readonly cluster: ClusterId;
  /** One more than any epoch before it. */
  readonly epoch: number;
}

export interface Loaded {
  /** Everything that is not terminal, keys ascending. */
  readonly live: readonly TaskRecord[];
  readonly nodes: readonly NodeRow[];
  readonly tokens: readonly TokenRow[];
  /** The audit log's last entry; EMPTY_CHAIN where there is none. */
  readonly auditHead: ChainHead;
  /** Tasks in each state, terminal ones included. */
  readonly counts: Readonly<Partial<Record<TaskState, number>>>;
  /** The greatest task key ever given; 0 for none. */
  readonly lastKey: number;
}

export interface ListFilter {
  readonly states?: readonly TaskState[];
  readonly kind?: TaskKind;
  readonly node?: NodeId;
  readonly label?: readonly [name: string, value: string];
  readonly name?: string;
  readonly user?: string;
  readonly owner?: string;
  /** Only dead letters (core/task.ts says which those are). Nothing else is looked at for them. */
  readonly dead?: true;
}

export interface Page {
  /** Newest first. */
  readonly tasks: readonly TaskRecord[];
  /** Pass as `before` for the following page; absent at the end. A page can be short, even empty, and still have one. */
  readonly next?: number;
}

/** Terminal tasks without the time of their end stay. */
export interface PruneOptions {
  /** Those that ended before go. */
  readonly endedBefore: number;
  /** So many terminal tasks may stay; of more, those that ended first go too. */
  readonly keep?: number;
  /** Submit keys of before go; absent: those of before `endedBefore`. */
  readonly submitsBefore?: number;
  /** At most so many tasks in one call, and as many submit keys. */
  readonly limit: number;
}

export interface Pruned {
  /** So many went. */
  readonly tasks: number;
  /** The limit was reached, of tasks or of submit keys. */
  readonly more: boolean;
}

export interface Store {
  readonly kind: "ram" | "sqlite" | "etcd";
  /** Takes the writer's seat: mints the cluster's id at the first call ever, and raises the epoch. */
  claim(): Promise<Claim>;
  load(): Promise<Loaded>;
  commit(batch: Batch): Promise<void>;
  task(key: number): Promise<TaskRecord | undefined>;
  list(filter: ListFilter, page: { before?: number; limit: number }): Promise<Page>;
  /** The attempts written with `attempts`, first to last; a running or succeeded one is in the task's record. */
  attempts(key: number): Promise<readonly Attempt[]>;
  submitKey(owner: string, key: string): Promise<SubmitKey | undefined>;
  /** Entries of the audit log after `after`, oldest first, at most `limit`. */
  audit(page: { after: number; limit: number }): Promise<readonly AuditEntry[]>;
  /** Deletes terminal tasks with all that hangs on them, and old submit keys. */
  prune(options: PruneOptions): Promise<Pruned>;
  /** A consistent copy at `path`, taken while the store works. */
  backup(path: string): Promise<void>;
  /** Bytes on disk, where the store knows. */
  bytes(): Promise<number | undefined>;
  close(): Promise<void>;
}

/** Another coordinator has claimed the store: step down, change nothing. */
export class StoreFenced extends Error {
  override name = "StoreFenced";
}

/** The store's medium failed; what was written last is unknown. The process must end and start again (never retry a sync). */
export class StoreBroken extends Error {
  override name = "StoreBroken";
}
