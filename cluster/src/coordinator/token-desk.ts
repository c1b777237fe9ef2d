/**
 * Tokens of the API for people and programs: made, listed, taken back.
 *
 * K1. The token itself leaves in the answer that made it and is kept nowhere.
 * K2. One that was taken back opens nothing from the next request on, and open streams tell nothing more: the gate looks it up each time.
 */
import { ClusterError } from "@openclaw-cluster/contract/errors";
import { TOKENS, type TokenId, type TokenMade, type TokenRequest, type TokenView } from "@openclaw-cluster/contract/token";
import type { ApiTokenRow } from "../store/store.ts";
import { createToken } from "../trust/token.ts";
import { SELF } from "./audit.ts";
import type { Lead } from "./lead.ts";

export class TokenDesk {
  private readonly lead: Lead;

  constructor(lead: Lead) {
    this.lead = lead;
  }

  list(): readonly TokenView[] {
    return [...this.lead.tokens.all()].map(toView).sort((a, b) => a.createdAt - b.createdAt || (a.id < b.id ? -1 : 1));
  }

  async make({ name, user = name, scope, ttlMs }: TokenRequest, actor: string = SELF): Promise<TokenMade> {
    const { tokens, turn, parts, audit } = this.lead;
    const { id, token, hash } = createToken();
    const createdAt = parts.clock.wall();
    const row: ApiTokenRow = { id, hash, scope, name, user, createdAt, ...(ttlMs !== undefined && { expiresAt: createdAt + ttlMs }) };
    await turn.run(() => {
      tokens.sweep(createdAt);
      if (tokens.size >= TOKENS.max) throw new ClusterError("overloaded", `There are ${TOKENS.max} tokens; take some back first.`);
      tokens.add(row);
      audit.note(actor, "token.made", `${id} (${name})${user === name ? "" : ` for ${user}`}, ${scope}`);
    });
    return { ...toView(row), token };
  }

  async revoke(id: TokenId, actor: string = SELF): Promise<TokenView> {
    const { tokens, turn, audit } = this.lead;
    return turn.run(() => {
      const row = tokens.remove(id);
      if (row === undefined) throw new ClusterError("not_found", `There is no token ${id}.`);
      audit.note(actor, "token.revoked", `${id} (${row.name})`);
      return toView(row);
    });
  }
}

function toView({ id, name, user = name, scope, createdAt, expiresAt }: ApiTokenRow): TokenView {
  return { id, name, user, scope, createdAt, ...(expiresAt !== undefined && { expiresAt }) };
}
