/**
 * The coordinator's door: what the API may ask of the role that leads. Every method that changes something resolves
 * after the change is committed; every method throws ClusterError with a code from the table, and nothing else.
 */
import type { BulkReport, DeadPage } from "@openclaw-cluster/contract/bulk";
import type { Backup, ClusterView, Health, QueueView } from "@openclaw-cluster/contract/cluster";
import type { ClusterError } from "@openclaw-cluster/contract/errors";
import type { ClusterEvent } from "@openclaw-cluster/contract/events";
import type { NodeId, TaskId } from "@openclaw-cluster/contract/ids";
import type { Json } from "@openclaw-cluster/contract/json";
import type { LentModel } from "@openclaw-cluster/contract/models";
import type { Node } from "@openclaw-cluster/contract/node";
import type { AuditPage } from "@openclaw-cluster/contract/audit";
import type { LeaveRequest, Leaving, Probe, ProbeRequest, Rotated, RotateRequest } from "@openclaw-cluster/contract/membership";
import type { TokenId, TokenMade, TokenRequest, TokenRotation, TokenView } from "@openclaw-cluster/contract/token";
import type { Invite, InviteRequest, JoinReply, JoinRequest, Session, SessionRequest } from "@openclaw-cluster/contract/join";
import type { BackupTaken, Enrolled, TaskPage } from "@openclaw-cluster/contract/operations";
import type { Migration, MigrationRequest } from "@openclaw-cluster/contract/store-migration";
import type { Explanation } from "@openclaw-cluster/contract/placement";
import type { Attempt, Submitted, Task } from "@openclaw-cluster/contract/task";
import type { TaskSpec } from "@openclaw-cluster/contract/task-spec";
import type { OutputChunk } from "@openclaw-cluster/contract/wire";
import type { ApiTokenRow, ListFilter } from "../store/store.ts";
import type { Admitted } from "./admission.ts";

/** The other end of the connection over which a request has come. */
export interface Peer {
  readonly address: string;
  readonly port: number;
}

/** Called as soon as a request's own proof was found good: what follows can take a minute, and is not in doubt. */
export type Proven = () => void;

export interface SubmitRequest {
  /** The user for whom it is asked: the tasks are theirs, and so are idempotency keys. */
  readonly owner: string;
  /** The id of the token that asks. */
  readonly token?: string;
  /** The Idempotency-Key of the whole request, with the SHA-256 of its body (base64url). */
  readonly idempotency?: { readonly key: string; readonly bodyHash: string };
  readonly specs: readonly TaskSpec[];
}

export interface TaskQuery extends ListFilter {
  /** Only dead letters with this fingerprint. */
  readonly alike?: string;
}

/** Who wants a task changed: where it is another user's, that is noted in the audit log. */
export interface Asker {
  readonly actor: string;
  readonly user: string;
}

/** Something that is done to every task that meets the query. */
export interface BulkOrder {
  readonly filter: TaskQuery;
  readonly act: { readonly kind: "cancel" | "retry" } | { readonly kind: "answer"; readonly decision: "retry" | "fail" };
  readonly dryRun?: boolean;
  readonly before?: number;
  /** Only this user's may be changed; others' are refused. */
  readonly only?: string;
}

/** `actor`: who asks, for the audit log; the coordinator itself unless said. */
export interface Coordinator {
  /** Asked before a submit's body is read. */
  readonly admission: {
    readonly isFull: boolean;
    refusal(token: string): ClusterError | undefined;
    admit(token: string): Admitted | ClusterError;
  };
  /** Answers in the order of the specs, after the commit. overloaded, idempotency_mismatch, storage_full. */
  submit(request: SubmitRequest): Promise<readonly Submitted[]>;
  plan(specs: readonly TaskSpec[], by?: Pick<SubmitRequest, "owner" | "token">): readonly Explanation[];
  task(id: TaskId): Promise<Task>;
  /** As `task`, but answers when the task is terminal or after `ms`, whichever is first. */
  waitFor(id: TaskId, ms: number, signal: AbortSignal): Promise<Task>;
  list(filter: TaskQuery, page: { before?: number; limit: number }): Promise<TaskPage>;
  why(id: TaskId): Promise<Explanation>;
  attempts(id: TaskId): Promise<readonly Attempt[]>;
  /** state_conflict while it has none. */
  result(id: TaskId): Promise<Json>;
  logs(id: TaskId, options: { follow: boolean; attempt?: number; signal: AbortSignal }): AsyncIterable<OutputChunk>;
  /** state_conflict when it is already over. */
  cancel(id: TaskId, by?: Asker): Promise<Task>;
  retry(id: TaskId, by?: Asker): Promise<Task>;
  answer(id: TaskId, decision: "retry" | "fail", by?: Asker): Promise<Task>;
  /** bad_request where the action cannot be done to any of the states asked for. What could not be changed is in the report. */
  bulk(order: BulkOrder, by?: Asker): Promise<BulkReport>;
  /** `owner`: only of this user's. */
  deadLetters(page: { before?: number; owner?: string }): Promise<DeadPage>;
  queue(limit: number): QueueView;
  cluster(): Promise<ClusterView>;
  health(): Health;
  /** When it is whole and synced. storage_full; state_conflict while another is made. */
  backup(actor?: string): Promise<BackupTaken>;
  /** Newest first. */
  backups(): Promise<readonly Backup[]>;
  /** When it has begun. bad_request where the store cannot be moved; state_conflict while it is being moved. */
  migrateStore(request: MigrationRequest, actor?: string): Promise<Migration>;
  storeMigration(): Migration | undefined;
  /** Events after the id given, in arrays as they were committed; starts with a `gap` event where some are gone. */
  events(after: number | undefined, signal: AbortSignal): AsyncIterable<readonly ClusterEvent[]>;
  /** Without `all` those are left out that nobody has heard of for a week and that hold nothing. */
  nodes(options?: { all?: boolean }): readonly Node[];
  node(id: NodeId): Node;
  nodeHealth(id: NodeId): Health;
  /** What nodes lend at the moment, in no order. */
  models(): Promise<readonly LentModel[]>;
  enrol(request: { id: NodeId; publicKey: string }, actor?: string): Promise<Enrolled>;
  /** The answer holds the code, which is shown nowhere else. */
  invite(request: InviteRequest, actor?: string): Promise<Invite>;
  /** Throws unauthorized where the request proves nothing, forbidden where this machine may not join, and state_conflict where its id is another key's. */
  join(request: JoinRequest, peer?: Peer, proven?: Proven): Promise<JoinReply>;
  /** Throws unauthorized where the request is not signed by the key that the node has joined with, overloaded where it asks too often. */
  session(id: NodeId, request: SessionRequest, proven?: Proven): Promise<Session>;
  /**
   * What a node asks with its own key, and each throws unauthorized where another has signed it. `probe` runs a task on it alone
   * and answers when that is over, or was given up.
   */
  probe(id: NodeId, request: ProbeRequest, signal: AbortSignal, proven?: Proven): Promise<Probe>;
  leave(id: NodeId, request: LeaveRequest, proven?: Proven): Promise<Leaving>;
  rotate(id: NodeId, request: RotateRequest, proven?: Proven): Promise<Rotated>;
  approveNode(id: NodeId, actor?: string): Promise<Node>;
  /** Its connection is cut, its key is not taken again, its leases are given away. */
  revokeNode(id: NodeId, actor?: string): Promise<Node>;
  patchNode(id: NodeId, patch: { labels?: Readonly<Record<string, string | null>>; slots?: number }, actor?: string): Promise<Node>;
  drain(id: NodeId, draining: boolean, actor?: string): Promise<Node>;
  shutdownNode(id: NodeId, actor?: string): Promise<Node>;
  /** Gives the node as it was before: its daemon begins anew. state_conflict where it is one already, or this cluster's store is not shared. */
  promoteNode(id: NodeId, options: { witness?: true | undefined }, actor?: string): Promise<Node>;
  /** Also one that is gone for good. unavailable where it leads: it hands over first, and whoever leads then is asked again. */
  demoteNode(id: NodeId, actor?: string): Promise<Node>;
  /** Gives the node as it was last. state_conflict while it may still be at work. */
  removeNode(id: NodeId, actor?: string): Promise<Node>;
  /** The token whose secret has this SHA-256 (base64url), unless it has expired. Looked up anew for each request. */
  token(hash: string): ApiTokenRow | undefined;
  tokens(): readonly TokenView[];
  /** Throws overloaded with TOKENS.max of them. */
  makeToken(request: TokenRequest, actor?: string): Promise<TokenMade>;
  revokeToken(id: TokenId, actor?: string): Promise<TokenView>;
  /** The same token with another secret; that of before ends at once, or after `graceMs`. */
  rotateToken(id: TokenId, rotation: TokenRotation, actor?: string): Promise<TokenMade>;
  /** Oldest first. */
  auditLog(page: { after: number; limit: number }): Promise<AuditPage>;
  /** An address has presented wrong credentials until it was shut out for a while. */
  guessed(address: string): void;
  addToken(row: ApiTokenRow): Promise<void>;
  /** Ends in good order: answers what is committed, refuses the rest with `unavailable`. */
  stop(): Promise<void>;
  /** Another one leads, or may: as a crash, but that this process goes on. Nothing more is said to anybody, but the last word. */
  abandon(): Promise<void>;
  /** After `abandon`, where it is not known who leads now: nodes may go on for a while (last-word.ts). `sureUntil` as in Term. */
  lastWord(sureUntil: number, signal: AbortSignal): Promise<void>;
}
