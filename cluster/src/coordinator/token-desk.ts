/**
 * Tokens of the API for people and programs: made, listed, taken back.
 *
 * K1. The token itself leaves in the answer that made it and is kept nowhere.
 * K2. One that was taken back opens nothing from the next request on, and open streams tell nothing more: the gate looks it up each time.
 * K3. A rotation is one commit: at no moment does neither secret open the API, and without a grace at none do both.
 */
import { ClusterError } from "@openclaw-cluster/contract/errors";
import {
  TOKENS,
  type TokenId,
  type TokenMade,
  type TokenRequest,
  type TokenRotation,
  type TokenView,
} from "@openclaw-cluster/contract/token";
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
      audit.note(actor, "token.made", madeText(row));
    });
    return { ...toView(row), token };
  }

  /** One that was made elsewhere: the local administrator's own. */
  async add(row: ApiTokenRow): Promise<void> {
    const { tokens, turn, audit } = this.lead;
    await turn.run(() => {
      tokens.add(row);
      audit.note(SELF, "token.made", madeText(row));
    });
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

  async rotate(id: TokenId, { graceMs }: TokenRotation, actor: string = SELF): Promise<TokenMade> {
    const { tokens, turn, parts, audit } = this.lead;
    const { token, hash } = createToken(id);
    return turn.run(() => {
      const now = parts.clock.wall();
      const before = tokens.named(id);
      if (before === undefined || isOver(before, now)) throw new ClusterError("not_found", `There is no token ${id}.`);
      const { previous: _ended, ...kept } = before;
      const row: ApiTokenRow = { ...kept, hash, ...(graceMs > 0 && { previous: { hash: before.hash, until: now + graceMs } }) };
      tokens.replace(row);
      audit.note(
        actor,
        "token.rotated",
        `${id} (${row.name})${graceMs > 0 ? `, the old secret for ${Math.ceil(graceMs / 60_000)} min more` : ""}`,
      );
      return { ...toView(row), token };
    });
  }
}

const isOver = ({ expiresAt }: ApiTokenRow, now: number): boolean => expiresAt !== undefined && expiresAt <= now;

function madeText({ id, name, user = name, scope }: ApiTokenRow): string {
  return `${id} (${name})${user === name ? "" : ` for ${user}`}, ${scope}`;
}

function toView({ id, name, user = name, scope, createdAt, expiresAt, previous }: ApiTokenRow): TokenView {
  return {
    ...{ id, name, user, scope, createdAt },
    ...(expiresAt !== undefined && { expiresAt }),
    ...(previous !== undefined && { graceUntil: previous.until }),
  };
}
