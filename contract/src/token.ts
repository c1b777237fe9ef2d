/** Tokens of the API: who holds one, what it may do, and until when. The token itself is told once, when it is made. */
import { z } from "zod";
import { Scope } from "./scopes.ts";

export const TOKENS = {
  /** Kept at once. */
  max: 1_000,
  ttlMinMs: 60_000,
  ttlMaxMs: 10 * 366 * 86_400_000,
} as const;

/** The public name inside a token: `occ_<id>_…`. */
export const TokenId = z.string().regex(/^[a-z2-7]{8}$/, "a token's id is 8 characters of a-z and 2-7");
export type TokenId = z.infer<typeof TokenId>;

/**
 * Somebody, or something, that tokens speak for: tasks are theirs. One line, and no halves of characters, which the
 * store's UTF-8 could not tell apart.
 */
export const User = z
  .string()
  .min(1)
  .max(64)
  .refine((name) => name.isWellFormed() && !/\p{Cc}/u.test(name), "one line of whole characters");
export type User = z.infer<typeof User>;

export const TokenRequest = z.strictObject({
  /** For people: who or what uses it. */
  name: User,
  /** Whom it speaks for; its name unless said. What it submits belongs to them, also when it is gone. */
  user: User.optional(),
  scope: Scope,
  /** ms until it expires; without it, it does not. */
  ttlMs: z.int().min(TOKENS.ttlMinMs).max(TOKENS.ttlMaxMs).optional(),
});
export type TokenRequest = z.infer<typeof TokenRequest>;

export const TokenView = z.object({
  id: TokenId,
  name: z.string(),
  user: z.string(),
  scope: Scope,
  createdAt: z.int(),
  expiresAt: z.int().optional(),
});
export type TokenView = z.infer<typeof TokenView>;

export const TokenMade = TokenView.extend({ token: z.string() });
export type TokenMade = z.infer<typeof TokenMade>;
