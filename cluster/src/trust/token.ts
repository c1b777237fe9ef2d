/**
 * API tokens: `occ_<id>_<secret>`. The id names the token's record to people and may be shown; the secret is 256 random
 * bits. Only the SHA-256 of the whole token is stored: with that much entropy a slow hash would guard nothing, and one
 * lookup by hash leaves nothing to compare, so nothing to time.
 */
import { hash, randomBytes } from "node:crypto";
import { randomId } from "../system/random-id.ts";

const FORM = /^occ_([a-z2-7]{8})_[A-Za-z0-9_-]{43}$/;
const SECRET_BYTES = 32;

export interface NewToken {
  readonly id: string;
  /** Shown once, to the one who asked; never stored, never logged. */
  readonly token: string;
  readonly hash: string;
}

/** `id`: of a token that gets another secret. */
export function createToken(id = randomId()): NewToken {
  const token = `occ_${id}_${randomBytes(SECRET_BYTES).toString("base64url")}`;
  return { id, token, hash: hashToken(token) };
}

/** What the store keeps and `Coordinator.token` looks up: SHA-256, base64url. */
export function hashToken(token: string): string {
  return hash("sha256", token, "base64url");
}

/** The id inside a well-formed token; undefined for anything else, which is then not worth a lookup. */
export function tokenId(token: string): string | undefined {
  return FORM.exec(token)?.[1];
}
