/** The API's tokens, by the hash of their secret; the secret itself is never here. */
import type { TokenRow } from "../store/store.ts";

export class Tokens {
  private readonly byHash = new Map<string, TokenRow>();
  private dirty: TokenRow[] = [];

  constructor(rows: readonly TokenRow[]) {
    for (const row of rows) this.byHash.set(row.hash, row);
  }

  find(hash: string, now: number): TokenRow | undefined {
    const row = this.byHash.get(hash);
    return row === undefined || (row.expiresAt !== undefined && row.expiresAt <= now) ? undefined : row;
  }

  add(row: TokenRow): void {
    this.byHash.set(row.hash, row);
    this.dirty.push(row);
  }

  takeDirty(): TokenRow[] {
    const rows = this.dirty;
    this.dirty = [];
    return rows;
  }
}
