/**
 * etcd in memory, for the simulation: what the store and its leadership lean on, done at once and in one thread. The suites of
 * both doors are run against it as against a real one, so that it cannot be kinder.
 *
 * R1. A transaction is atomic, and one revision: its conditions are asked of what was before it, its operations are done in their
 *     order. It is refused whole where it puts under a lease that is gone, writes a key twice, or has more than OPERATIONS_MAX.
 * R2. A look at a revision sees what was then; one that is compacted or not there yet is refused. Listeners hear every change, in order.
 * R3. A lease ends not before its time, and up to EXPIRY_MS after it; what hangs on it goes in one revision. A renewal counts from
 *     when it arrives. While etcd has no quorum none ends, and with it each lasts its whole time again.
 */
import type { Clock, Timer } from "../../cluster/src/system/clock.ts";
import {
  afterPrefix,
  EtcdFault,
  OPERATIONS_MAX,
  type Change,
  type Condition,
  type Entry,
  type EtcdClient,
  type EtcdStatus,
  type Operation,
  type Ranged,
  type RangeOptions,
  type Transacted,
  type Transaction,
} from "../../cluster/src/store/etcd-client.ts";

/** etcd's lessor looks for expired leases every 500 ms. */
const EXPIRY_MS = 500;

interface Version {
  readonly revision: number;
  /** undefined: it was deleted. */
  readonly value: Buffer | undefined;
  readonly lease: string | undefined;
}

interface Lease {
  readonly seconds: number;
  readonly keys: Set<string>;
  endsAt: number;
  timer: Timer | undefined;
}

export class RamEtcd {
  revision = 1;
  hasQuorum = true;
  private readonly clock: Clock;
  private readonly random: () => number;
  private readonly rows = new Map<string, Version[]>();
  private readonly leases = new Map<string, Lease>();
  private readonly history: Change[][] = [];
  private readonly listeners = new Set<() => void>();
  private compacted = 0;
  private named = 0;

  constructor(clock: Clock, random: () => number) {
    this.clock = clock;
    this.random = random;
  }

  /** After each revision. */
  onRevision(listener: () => void): () => void {
    this.listeners.add(listener);
    return () => void this.listeners.delete(listener);
  }

  transact({ when, then, otherwise = [] }: Transaction): Transacted {
    for (const branch of [then, otherwise]) this.check(branch);
    const held = when.every((condition) => this.holds(condition));
    const operations = held ? then : otherwise;
    for (const operation of operations)
      if ("put" in operation && operation.lease !== undefined && !this.leases.has(operation.lease)) throw noLease();
    const changes: Change[] = [];
    const found: (Entry | undefined)[] = [];
    const revision = this.revision + 1;
    for (const operation of operations) {
      if ("get" in operation) found.push(this.entry(operation.get, operation.revision ?? revision));
      else this.change(operation, revision, changes);
    }
    this.keep(changes, revision);
    return { held, revision: this.revision, found };
  }

  range({ from, to, limit = Infinity, newestKeyFirst, keysOnly, revision = this.revision }: RangeOptions): Ranged {
    this.checkRevision(revision);
    const keys = this.keysIn(from, to).filter((key) => this.versionAt(key, revision)?.value !== undefined);
    if (newestKeyFirst === true) keys.reverse();
    const entries = keys.slice(0, limit).map((key) => {
      const entry = this.entry(key, revision) as Entry;
      return keysOnly === true ? { ...entry, value: Buffer.alloc(0) } : entry;
    });
    return { entries, more: keys.length > limit, revision: this.revision };
  }

  /** What has changed under the prefix from that revision up to this one. */
  changes(prefix: string, from: number, upTo: number): readonly (readonly Change[])[] {
    if (from <= this.compacted) throw new EtcdFault("compacted", `revision ${from} is forgotten`);
    const to = afterPrefix(prefix);
    return this.history.slice(Math.max(0, from - FIRST_REVISION), Math.max(0, upTo + 1 - FIRST_REVISION)).flatMap((changes) => {
      const its = changes.filter(({ key }) => key >= prefix && key < to);
      return its.length === 0 ? [] : [its];
    });
  }

  grant(seconds: number): string {
    const name = `lease${(this.named += 1)}`;
    this.leases.set(name, { seconds, keys: new Set(), endsAt: 0, timer: undefined });
    this.renew(name);
    return name;
  }

  renew(name: string): number {
    const lease = this.leases.get(name);
    if (lease === undefined) return 0;
    lease.endsAt = this.clock.monotonic() + lease.seconds * 1_000;
    this.arm(name, lease);
    return lease.seconds;
  }

  revoke(name: string): void {
    const lease = this.leases.get(name);
    if (lease === undefined) throw noLease();
    lease.timer?.cancel();
    this.leases.delete(name);
    const changes: Change[] = [];
    const revision = this.revision + 1;
    for (const key of [...lease.keys].sort()) this.change({ delete: key }, revision, changes);
    this.keep(changes, revision);
  }

  status(): EtcdStatus {
    const { revision } = this;
    return { version: "3.5.0", member: "1", leader: "1", term: 1, revision, databaseBytes: 0, usedBytes: 0 };
  }

  /** Most of its members are dead, or have no leader yet. Callers see to it that nothing is asked meanwhile. */
  loseQuorum(): void {
    this.hasQuorum = false;
  }

  findQuorum(): void {
    if (this.hasQuorum) return;
    this.hasQuorum = true;
    for (const name of this.leases.keys()) this.renew(name);
  }

  compact(revision: number): void {
    if (revision <= this.compacted) throw new EtcdFault("compacted", `revision ${revision} is forgotten already`);
    this.compacted = revision;
    for (const [key, versions] of this.rows) {
      const kept = versions.findLastIndex((version) => version.revision <= revision);
      if (kept > 0) versions.splice(0, kept);
      const [only] = versions;
      if (versions.length === 1 && only?.value === undefined && (only?.revision ?? 0) <= revision) this.rows.delete(key);
    }
  }

  private arm(name: string, lease: Lease): void {
    if (lease.timer !== undefined) return;
    const lateMs = this.random() * EXPIRY_MS;
    lease.timer = this.clock.after(lease.endsAt - this.clock.monotonic() + lateMs, () => {
      lease.timer = undefined;
      if (!this.hasQuorum) return;
      if (this.clock.monotonic() >= lease.endsAt) this.revoke(name);
      else this.arm(name, lease);
    });
  }

  private check(operations: readonly Operation[]): void {
    if (operations.length > OPERATIONS_MAX) throw new EtcdFault("refused", "too many operations in one transaction");
    const puts = operations.flatMap((operation) => ("put" in operation ? [operation.put] : []));
    const deleted = operations.flatMap((one) => ("put" in one || "get" in one ? [] : [rangeOf(one)]));
    if (new Set(puts).size < puts.length || puts.some((key) => deleted.some(([from, to]) => key >= from && key < to)))
      throw new EtcdFault("refused", "duplicate key given in txn request");
  }

  private holds(condition: Condition): boolean {
    const value = this.versionAt(condition.key, this.revision)?.value;
    if ("exists" in condition) return (value !== undefined) === condition.exists;
    return value !== undefined && value.equals(Buffer.from(condition.value as string));
  }

  private change(operation: Exclude<Operation, { readonly get: string }>, revision: number, changes: Change[]): void {
    if ("put" in operation) {
      const { put: key, value, lease } = operation;
      this.write(key, { revision, value: Buffer.from(value as string), lease }, changes);
      return;
    }
    for (const key of this.keysIn(...rangeOf(operation)))
      if (this.versionAt(key, revision)?.value !== undefined) this.write(key, { revision, value: undefined, lease: undefined }, changes);
  }

  private write(key: string, version: Version, changes: Change[]): void {
    const versions = this.rows.get(key) ?? [];
    const before = versions.at(-1)?.lease;
    if (before !== undefined) this.leases.get(before)?.keys.delete(key);
    if (version.lease !== undefined) this.leases.get(version.lease)?.keys.add(key);
    versions.push(version);
    this.rows.set(key, versions);
    changes.push({ key, value: version.value, revision: version.revision });
  }

  /** A transaction that changed nothing is no revision. */
  private keep(changes: Change[], revision: number): void {
    if (changes.length === 0) return;
    this.revision = revision;
    this.history.push(changes);
    for (const listener of this.listeners) listener();
  }

  private keysIn(from: string, to: string): string[] {
    return [...this.rows.keys()].filter((key) => key >= from && key < to).sort();
  }

  private versionAt(key: string, revision: number): Version | undefined {
    return this.rows.get(key)?.findLast((version) => version.revision <= revision);
  }

  private entry(key: string, revision: number): Entry | undefined {
    if (revision <= this.revision) this.checkRevision(revision);
    const version = this.versionAt(key, revision);
    return version?.value === undefined ? undefined : { key, value: version.value, revision: version.revision };
  }

  private checkRevision(revision: number): void {
    if (revision < this.compacted) throw new EtcdFault("compacted", `revision ${revision} is forgotten`);
    if (revision > this.revision) throw new EtcdFault("refused", `revision ${revision} is not there yet`);
  }
}

/** An empty etcd is at revision 1. */
const FIRST_REVISION = 2;

type Deletion = Exclude<Operation, { readonly get: string } | { readonly put: string }>;

function rangeOf(operation: Deletion): readonly [from: string, to: string] {
  if ("delete" in operation) return [operation.delete, `${operation.delete}\0`];
  return "deletePrefix" in operation ? [operation.deletePrefix, afterPrefix(operation.deletePrefix)] : operation.deleteRange;
}

const noLease = (): EtcdFault => new EtcdFault("not_found", "requested lease not found");

/** How a client's calls come to it, and how its word comes back. */
export interface Line {
  /** `work` is what etcd does when the call arrives. */
  call<T>(work: () => T, options?: { readonly timeoutMs?: number; readonly signal?: AbortSignal; readonly local?: boolean }): Promise<T>;
  /** Resolves when something may be heard; with the revision up to which. */
  news(heard: number, signal: AbortSignal): Promise<number>;
}

export function ramEtcdClient(etcd: RamEtcd, line: Line = directLine(etcd)): EtcdClient {
  const never = (): Promise<never> => Promise.reject(new EtcdFault("refused", "this etcd has no members"));
  return {
    transact: (transaction, options) => {
      const operations = [...transaction.then, ...(transaction.otherwise ?? [])];
      const local = transaction.when.length === 0 && operations.every((one) => "get" in one && one.local === true);
      return line.call(() => etcd.transact(transaction), { ...options, local });
    },
    range: (range, options) => line.call(() => etcd.range(range), { ...options, local: range.local === true }),
    async *watch(prefix, from, signal) {
      for (let next = from; !signal.aborted;) {
        const upTo = await line.news(next - 1, signal);
        if (signal.aborted) return;
        const changes = etcd.changes(prefix, next, upTo);
        next = Math.max(next, upTo + 1);
        yield* changes;
      }
    },
    grant: (seconds, options) => line.call(() => etcd.grant(seconds), options),
    renew: (lease, options) => line.call(() => etcd.renew(lease), options),
    revoke: (lease, options) => line.call(() => etcd.revoke(lease), options),
    compact: (revision, options) => line.call(() => etcd.compact(revision), options),
    status: (options) => line.call(() => etcd.status(), options),
    members: never,
    addMember: never,
    promoteMember: never,
    removeMember: never,
    moveLeader: never,
    hasNoSpace: async () => false,
    disarm: never,
    defragment: never,
    close: () => undefined,
  };
}

/** Nothing is ever lost or late. */
function directLine(etcd: RamEtcd): Line {
  return {
    call: async (work) => work(),
    news: (heard, signal) =>
      new Promise((resolve) => {
        const look = (): void => {
          if (etcd.revision <= heard && !signal.aborted) return;
          stop();
          signal.removeEventListener("abort", look);
          resolve(etcd.revision);
        };
        const stop = etcd.onRevision(look);
        signal.addEventListener("abort", look);
        look();
      }),
  };
}
