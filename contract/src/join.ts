/**
 * How a machine comes into a cluster: an invitation, the code that carries it to the other machine, and what that machine and
 * the coordinator prove to each other. The code's secret is never sent; both sides show that they know it (trust/join-proof.ts).
 */
import { z } from "zod";
import { ClusterId, NodeId } from "./ids.ts";
import { LIMITS } from "./limits.ts";

/** An invitation's public name. */
export const InviteId = z.string().regex(/^[a-z2-7]{8}$/, "an invitation is 8 characters of a-z and 2-7");
export type InviteId = z.infer<typeof InviteId>;

/** SHA-256, base64url. */
export const Digest = z.string().regex(/^[A-Za-z0-9_-]{43}$/, "32 bytes as base64url");
/** Ed25519, base64url. */
export const Signature = z.string().regex(/^[A-Za-z0-9_-]{86}$/, "64 bytes as base64url");
/** The certificate of a coordinator's authority: PEM, about 700 characters. */
const AuthorityCertificate = z
  .string()
  .max(4_096)
  .regex(/^-----BEGIN CERTIFICATE-----\n/, "a certificate as PEM");
/** The public nkey of a node or of the coordinator. */
export const PublicKey = z.string().regex(/^U[A-Z2-7]{55}$/, "a public key looks like U…, 56 characters");

export const INVITE = {
  /** Times are ms. */
  ttlDefaultMs: 600_000,
  ttlMaxMs: 86_400_000,
  /** Open at once; more are refused until some are used or run out. */
  openMax: 64,
} as const;

export const InviteRequest = z.strictObject({
  /** Only this id may join with it. */
  node: NodeId.optional(),
  /** Lets the node in at once; without it somebody approves the key that came. */
  approve: z.boolean().default(false),
  ttlMs: z.int().min(10_000).max(INVITE.ttlMaxMs).default(INVITE.ttlDefaultMs),
});
export type InviteRequest = z.infer<typeof InviteRequest>;

/** `code` is shown once, to the one who asked. */
export const Invite = z.object({ id: InviteId, code: z.string(), expiresAt: z.int(), approve: z.boolean(), node: NodeId.optional() });
export type Invite = z.infer<typeof Invite>;

/** Of the machine that wants in. What it says of itself is for people's eyes only. */
export const JoinRequest = z.strictObject({
  invite: InviteId,
  node: NodeId,
  publicKey: PublicKey,
  hostname: z.string().min(1).max(253),
  os: z.string().min(1).max(32),
  /** 32 random bytes of this attempt to join. */
  nonce: Digest,
  /** HMAC with the code's key over all of the above. */
  proof: Digest,
  /** Ed25519 by the node's key over the same, base64url. */
  signature: Signature,
});
export type JoinRequest = z.infer<typeof JoinRequest>;

/** A node that has joined asks its coordinator where the bus is. A copy of it tells a stranger nothing that opens anything. */
export const SessionRequest = z.strictObject({ nonce: Digest, signature: Signature });
export type SessionRequest = z.infer<typeof SessionRequest>;

export const Session = z.object({
  node: NodeId,
  cluster: ClusterId,
  state: z.enum(["pending", "approved"]),
  busUrls: z.array(z.string()),
  coordinatorKey: PublicKey,
  epoch: z.int(),
  /** The coordinator's time of day, by which it judges when something was signed. */
  now: z.int(),
  /** Where the API of each control node is, likeliest first. Whoever uses one looks whether it is an address. */
  coordinatorUrls: z.array(z.string().max(512)).max(LIMITS.coordinatorUrlsMax).optional(),
  /** Signature by the coordinator's key over all of that but the list, and the request (cluster/src/trust/session-proof.ts). */
  proof: Signature,
  /** And over the list: of its own, because a node of an older version checks `proof` as it knows it. */
  coordinatorUrlsProof: Signature.optional(),
});
export type Session = z.infer<typeof Session>;

/** What the coordinator says of itself, and its proof over that and the request's nonce. */
export const JoinReply = z.object({
  node: NodeId,
  cluster: ClusterId,
  name: z.string(),
  state: z.enum(["pending", "approved"]),
  /** With it the coordinator signs what it says on the bus; the node obeys no other. */
  coordinatorKey: PublicKey,
  /** What the join code's pin is of; the node knows its coordinator's servers by it. */
  authority: AuthorityCertificate,
  proof: Digest,
});
export type JoinReply = z.infer<typeof JoinReply>;
