/**
 * The API's tokens and the open invitations, by what is kept of their secrets; the secrets themselves are never here.
 *
 * T1. An invitation is no token: `find` never gives one.
 * T2. A token has one secret, and for a while after a rotation that of before as well.
 */
import type { ApiTokenRow, TokenRow } from "../store/store.ts";

export class Tokens {
  private readonly byId = new Map<string, ApiTokenRow>();
  private readonly byHash = new Map<string, ApiTokenRow>();
  private readonly invites = new Map<string, TokenRow>();
  private dirty: TokenRow[] = [];
  private gone: string[] = [];

  constructor(rows: readonly TokenRow[]) {
    this.rollBack(rows);
  }

  /** After a commit that failed: what the store has is all there is. */
  rollBack(rows: readonly TokenRow[]): void {
    this.byId.clear();
    this.byHash.clear();
    this.invites.clear();
    this.dirty = [];
    this.gone = [];
    for (const row of rows) this.hold(row);
  }

  find(hash: string, now: number): ApiTokenRow | undefined {
    const row = this.byHash.get(hash);
    if (row === undefined || (row.expiresAt !== undefined && row.expiresAt <= now)) return undefined;
    return row.hash === hash || (row.previous !== undefined && row.previous.until > now) ? row : undefined;
  }

  add(row: TokenRow): void {
    this.hold(row);
    this.dirty.push(row);
  }

  get size(): number {
    return this.byId.size;
  }

  all(): IterableIterator<ApiTokenRow> {
    return this.byId.values();
  }

  named(id: string): ApiTokenRow | undefined {
    return this.byId.get(id);
  }

  /** The same token with other secrets. */
  replace(row: ApiTokenRow): void {
    this.drop(row.id);
    this.add(row);
  }

  /** undefined: there is none. */
  remove(id: string): ApiTokenRow | undefined {
    const row = this.drop(id);
    if (row !== undefined) this.gone.push(id);
    return row;
  }

  /** Those that have expired go. */
  sweep(now: number): void {
    for (const { id, expiresAt } of [...this.byId.values()]) if (expiresAt !== undefined && expiresAt <= now) this.remove(id);
  }

  /** Open or used; undefined when there is none or its time is over. */
  invite(id: string, now: number): TokenRow | undefined {
    const row = this.invites.get(id);
    return row === undefined || (row.expiresAt ?? 0) <= now ? undefined : row;
  }

  /** Those whose time is over go. Gives how many are left unused. */
  sweepInvites(now: number): number {
    let open = 0;
    for (const { id, expiresAt = 0, invite } of this.invites.values()) {
      if (expiresAt <= now) {
        this.invites.delete(id);
        this.gone.push(id);
      } else if (invite?.usedBy === undefined) open += 1;
    }
    return open;
  }

  takeDirty(): TokenRow[] {
    const rows = this.dirty;
    this.dirty = [];
    return rows;
  }

  takeGone(): string[] {
    const ids = this.gone;
    this.gone = [];
    return ids;
  }

  private hold(row: TokenRow): void {
    if (!isApiToken(row)) {
      this.invites.set(row.id, row);
      return;
    }
    this.byId.set(row.id, row);
    this.byHash.set(row.hash, row);
    if (row.previous !== undefined) this.byHash.set(row.previous.hash, row);
  }

  private drop(id: string): ApiTokenRow | undefined {
    const row = this.byId.get(id);
    if (row === undefined) return undefined;
    this.byId.delete(id);
    this.byHash.delete(row.hash);
    if (row.previous !== undefined) this.byHash.delete(row.previous.hash);
    return row;
  }
}

function isApiToken(row: TokenRow): row is ApiTokenRow {
  return row.scope !== "join";
}
