/**
 * The one line that is carried to another machine: `ocj1_…`. It holds an invitation's name, its secret, the pin of the
 * coordinator's authority (trust/authority.ts), and where the coordinator is found.
 *
 * J1. Letters, digits, `-` and `_` only, so that every shell takes it as one word.
 * J2. A code that was cut off or mistyped is known as such before anybody is asked: it ends in a check sum.
 */
import { hash, randomBytes } from "node:crypto";
import { ClusterError } from "@openclaw-cluster/contract/errors";
import { InviteId } from "@openclaw-cluster/contract/join";
import { z } from "zod";
import { randomId } from "../system/random-id.ts";

const PREFIX = "ocj1_";
const SUM_CHARS = 6;
const SECRET_BYTES = 20;
/** A code is carried by hand; each address is some 40 characters of it. */
export const JOIN_CODE_URLS_MAX = 8;

const Code = z.strictObject({
  i: InviteId,
  s: z.string().regex(/^[A-Za-z0-9_-]{27}$/),
  p: z.string().regex(/^[A-Za-z0-9_-]{43}$/),
  u: z
    .array(z.url({ protocol: /^https?$/ }))
    .min(1)
    .max(JOIN_CODE_URLS_MAX),
});

export interface JoinCode {
  readonly invite: InviteId;
  /** 160 random bits, base64url. */
  readonly secret: string;
  /** SHA-256 of the authority's certificate, base64url. */
  readonly pin: string;
  /** The coordinator's API, likeliest first. */
  readonly urls: readonly string[];
}

export function createInvitation(): Pick<JoinCode, "invite" | "secret"> {
  return { invite: InviteId.parse(randomId()), secret: randomBytes(SECRET_BYTES).toString("base64url") };
}

export function writeJoinCode({ invite, secret, pin, urls }: JoinCode): string {
  const body = Buffer.from(JSON.stringify({ i: invite, s: secret, p: pin, u: urls })).toString("base64url");
  return PREFIX + body + checkSum(body);
}

/** Throws `usage` with what is wrong; never with a part of the code. */
export function readJoinCode(text: string): JoinCode {
  const code = text.trim();
  if (!code.startsWith(PREFIX))
    throw new ClusterError("usage", `A join code begins with ${PREFIX}; the coordinator's \`invite\` prints one.`);
  const body = code.slice(PREFIX.length, -SUM_CHARS);
  if (code.length < PREFIX.length + SUM_CHARS || checkSum(body) !== code.slice(-SUM_CHARS))
    throw new ClusterError("usage", "This join code is not whole: a part is missing or was mistyped.");
  const parsed = Code.safeParse(jsonOf(body));
  if (!parsed.success) throw new ClusterError("usage", "This join code is of a version that this program does not read; update it.");
  const { i, s, p, u } = parsed.data;
  return { invite: i, secret: s, pin: p, urls: u };
}

function jsonOf(body: string): unknown {
  try {
    return JSON.parse(Buffer.from(body, "base64url").toString("utf8"));
  } catch {
    return undefined;
  }
}

function checkSum(body: string): string {
  return hash("sha256", PREFIX + body, "base64url").slice(0, SUM_CHARS);
}
