/** What the table of operations says of each of them. */
import type { z } from "zod";
import type { Scope } from "./scopes.ts";

export type Others = "outline" | "refused" | "absent";

export interface Operation {
  readonly method: "get" | "post" | "patch" | "delete";
  readonly path: string;
  /** What the caller's token must permit. proof: no token; the body itself proves who sent it. */
  readonly scope: Scope | "proof";
  readonly summary: string;
  readonly status: 200 | 202;
  readonly params?: z.ZodObject;
  readonly query?: z.ZodObject;
  readonly body?: z.ZodType;
  /** In place of LIMITS.bodyBytesMax. */
  readonly bodyBytesMax?: number;
  /** The answer's schema; for a stream, that of one event's data. */
  readonly reply: z.ZodType;
  readonly stream?: true;
  /**
   * What a token below the scope operator gets of tasks, and of requests for models, that are not its user's: their outline
   * (core/visibility.ts), a refusal, or nothing of them. Whatever tells of them, or changes one, says it.
   */
  readonly others?: Others;
  /** It may take this long on purpose. */
  readonly takesMs?: number;
}
