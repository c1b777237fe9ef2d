/**
 * Whether two stores hold the same rows, in whatever order they are read: of each kind how many there are, and the sum (exclusive
 * or) of the rows' SHA-256. No row is there twice, so none cancels another.
 */
import { createHash } from "node:crypto";
import type { Rows } from "./store.ts";

const KINDS = ["tasks", "attempts", "keys", "nodes", "tokens", "audit"] as const;
type Kind = (typeof KINDS)[number];

const DIGEST_BYTES = 32;

export class StoreDigest {
  private readonly kinds: Record<Kind, { count: number; readonly sum: Buffer }>;

  constructor() {
    const none = (): { count: number; sum: Buffer } => ({ count: 0, sum: Buffer.alloc(DIGEST_BYTES) });
    this.kinds = { tasks: none(), attempts: none(), keys: none(), nodes: none(), tokens: none(), audit: none() };
  }

  /** What is removed counts for nothing: the other side must not have it. */
  add({ created = [], changed = [], attempts = [], keys = [], nodes = [], tokens = [], audit = [] }: Rows): void {
    const rows: Readonly<Record<Kind, readonly unknown[]>> = { tasks: [...created, ...changed], attempts, keys, nodes, tokens, audit };
    for (const kind of KINDS) for (const row of rows[kind]) this.enter(kind, row);
  }

  /** In words, where they differ. */
  differenceTo(other: StoreDigest): string | undefined {
    const kind = KINDS.find((one) => !this.isSame(one, other));
    if (kind === undefined) return undefined;
    const [here, there] = [this.kinds[kind].count, other.kinds[kind].count];
    return here === there ? `the ${kind} are as many (${here}), and not the same` : `there are ${here} ${kind} here, and ${there} there`;
  }

  private enter(kind: Kind, row: unknown): void {
    const its = this.kinds[kind];
    const hash = createHash("sha256").update(canonical(row)).digest();
    its.count += 1;
    for (let at = 0; at < DIGEST_BYTES; at += 1) its.sum[at] = (its.sum[at] as number) ^ (hash[at] as number);
  }

  private isSame(kind: Kind, other: StoreDigest): boolean {
    const [here, there] = [this.kinds[kind], other.kinds[kind]];
    return here.count === there.count && here.sum.equals(there.sum);
  }
}

/** JSON in which the order of fields says nothing. */
function canonical(row: unknown): string {
  return JSON.stringify(row, (_name, value: unknown) =>
    typeof value === "object" && value !== null && !Array.isArray(value)
      ? Object.fromEntries(Object.entries(value).sort(([a], [b]) => (a < b ? -1 : 1)))
      : value,
  );
}
