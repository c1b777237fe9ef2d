/** What a token may do. Each scope includes those before it. Scopes come from the server's record alone. */
import { z } from "zod";

const SCOPES = ["viewer", "submitter", "operator", "admin"] as const;
export const Scope = z.enum(SCOPES);
export type Scope = z.infer<typeof Scope>;

export function permits(held: Scope, needed: Scope): boolean {
  return SCOPES.indexOf(held) >= SCOPES.indexOf(needed);
}
