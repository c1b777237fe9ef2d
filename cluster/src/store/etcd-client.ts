/**
 * What the etcd store needs of etcd, and nothing else: keys are text, values are bytes. etcd-gateway.ts speaks to a real one.
 *
 * E1. A call ends in an answer or in an EtcdFault; whether what it asked for may have happened all the same stands in the fault.
 * E2. Every call goes through the leader's log (it is linearizable), but for a `range` that asks for the local member's word.
 * E3. Where an endpoint fails, the next one is asked; a change is sent a second time only when the first surely did not arrive.
 */

export interface Entry {
  readonly key: string;
  readonly value: Buffer;
  /** The store's revision in which it was written last. */
  readonly revision: number;
}

export type Condition =
  | { readonly key: string; readonly value: string | Buffer }
  /** It is there, or not. */
  | { readonly key: string; readonly exists: boolean };

export type Operation =
  | { readonly put: string; readonly value: string | Buffer; readonly lease?: string }
  | { readonly delete: string }
  /** All keys that begin with it. */
  | { readonly deletePrefix: string }
  /** From `from` to before `to`. */
  | { readonly deleteRange: readonly [from: string, to: string] }
  /** As it was at `revision`. `local`: as for a range; a transaction in which every operation says so needs no quorum. */
  | { readonly get: string; readonly revision?: number; readonly local?: true };

export interface Transaction {
  /** All of them must hold. */
  readonly when: readonly Condition[];
  /** At most OPERATIONS_MAX. */
  readonly then: readonly Operation[];
  readonly otherwise?: readonly Operation[];
}

export interface Transacted {
  readonly held: boolean;
  readonly revision: number;
  /** What the `get`s of the branch that was taken have found, in their order; undefined: nothing under that key. */
  readonly found: readonly (Entry | undefined)[];
}

export interface RangeOptions {
  /** From this key on, or from the first that is greater than … */
  readonly from: string;
  /** … to before this one. */
  readonly to: string;
  readonly limit?: number;
  /** etcd reads the whole range for it, whatever the limit. */
  readonly newestKeyFirst?: true;
  readonly keysOnly?: true;
  /** As it was then. Fault `compacted` where that is forgotten. */
  readonly revision?: number;
  /** The word of the member that is asked, which can be old, but needs no quorum. */
  readonly local?: true;
}

export interface Ranged {
  readonly entries: readonly Entry[];
  /** There are more than `limit`. */
  readonly more: boolean;
  /** The store's, when it was read. */
  readonly revision: number;
}

export interface Change {
  readonly key: string;
  /** undefined: it was deleted. */
  readonly value: Buffer | undefined;
  readonly revision: number;
}

export interface EtcdStatus {
  readonly version: string;
  /** Hexadecimal, as etcdctl shows it. */
  readonly member: string;
  /** Absent: it knows of none. */
  readonly leader: string | undefined;
  readonly term: number;
  readonly revision: number;
  /** It listens, and has no vote. */
  readonly learner?: true;
  readonly databaseBytes: number;
  readonly usedBytes: number;
}

export interface Member {
  /** Hexadecimal. */
  readonly id: string;
  /** Empty until it has started. */
  readonly name: string;
  readonly peerUrls: readonly string[];
  readonly clientUrls: readonly string[];
  readonly learner: boolean;
}

export interface CallOptions {
  /** CALL_MS unless said. */
  readonly timeoutMs?: number;
  readonly signal?: AbortSignal;
}

export interface EtcdClient {
  transact(transaction: Transaction, options?: CallOptions): Promise<Transacted>;
  range(range: RangeOptions, options?: CallOptions): Promise<Ranged>;
  /**
   * What changes under the prefix, from that revision on, an array for each revision. Goes on at another endpoint by itself;
   * throws `compacted` where what it would go on with is forgotten. Ends with the signal.
   */
  watch(prefix: string, from: number, signal: AbortSignal): AsyncIterable<readonly Change[]>;
  /** A lease for so many seconds; its name. */
  grant(seconds: number, options?: CallOptions): Promise<string>;
  /** The seconds that it lasts from now; 0: it is over. */
  renew(lease: string, options?: CallOptions): Promise<number>;
  revoke(lease: string, options?: CallOptions): Promise<void>;
  /** Forgets what was before this revision. */
  compact(revision: number, options?: CallOptions): Promise<void>;
  /** Of the member that is asked now, or at `endpoint`. */
  status(options?: CallOptions & { endpoint?: string }): Promise<EtcdStatus>;
  members(options?: CallOptions & { local?: true }): Promise<readonly Member[]>;
  addMember(peerUrl: string, options?: CallOptions & { learner?: true }): Promise<Member>;
  promoteMember(id: string, options?: CallOptions): Promise<void>;
  removeMember(id: string, options?: CallOptions): Promise<void>;
  /** Hands etcd's own leadership over, asked of its leader. */
  moveLeader(endpoint: string, to: string, options?: CallOptions): Promise<void>;
  /** Its database is full and it takes no more puts. */
  hasNoSpace(options?: CallOptions): Promise<boolean>;
  /** After room was made: lets puts in again. */
  disarm(options?: CallOptions): Promise<void>;
  /** Gives the file's unused pages back; the member at `endpoint` stands still meanwhile. */
  defragment(endpoint: string, options?: CallOptions): Promise<void>;
  /** The first of several endpoints serves: it is asked from now on, and watches go there. */
  comeHome?(): void;
  close(): void;
}

/** etcd's own default (--max-txn-ops). */
export const OPERATIONS_MAX = 128;
/** Of one request; etcd's own default (--max-request-bytes) is 1.5 MiB, which keys and framing share. */
export const REQUEST_BYTES_MAX = 1_280 * 1_024;
export const CALL_MS = 5_000;

/**
 * unreachable: no endpoint can be reached. undecided: it was sent, and no answer came. no_quorum: no leader, or none that answers.
 * no_space: its database is full. compacted: that revision is forgotten. not_found: no such lease or member.
 * unauthorized: it wants other credentials. refused: anything else that it does not want.
 */
export type EtcdFaultKind = "unreachable" | "undecided" | "no_quorum" | "no_space" | "compacted" | "not_found" | "unauthorized" | "refused";

export class EtcdFault extends Error {
  override name = "EtcdFault";
  readonly kind: EtcdFaultKind;
  /** What was asked for may have happened, or happen yet. */
  readonly mayHaveHappened: boolean;
  /** Absent: it was not etcd that said no, or nobody did. */
  readonly grpcCode: number | undefined;

  constructor(
    kind: EtcdFaultKind,
    message: string,
    options: { mayHaveHappened?: boolean; cause?: unknown; grpcCode?: number | undefined } = {},
  ) {
    super(message, { cause: options.cause });
    this.kind = kind;
    this.mayHaveHappened = options.mayHaveHappened ?? false;
    this.grpcCode = options.grpcCode;
  }

  /** Another try, or another member, may do. */
  get passes(): boolean {
    return this.kind === "unreachable" || this.kind === "undecided" || this.kind === "no_quorum";
  }
}

/** The key after all that begin with the prefix. Keys are ASCII. */
export function afterPrefix(prefix: string): string {
  const last = prefix.charCodeAt(prefix.length - 1);
  return prefix.slice(0, -1) + String.fromCharCode(last + 1);
}
