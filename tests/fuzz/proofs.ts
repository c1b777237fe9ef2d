/**
 * Requests that prove who sent them, signed as the product signs them, but over whatever stands in them: what a node that was taken
 * over can do, and a machine that holds a join code.
 *
 * P1. What is signed is the body as it will be read, also where it was spoilt: so that what lies behind the proof is reached.
 */
import { createHmac, randomBytes } from "node:crypto";
import { OPERATIONS } from "@openclaw-cluster/contract/operations";
import { joinKey, sign } from "../../cluster/src/trust/join-proof.ts";
import type { JoinCode } from "../../cluster/src/trust/join-code.ts";
import type { NodeKeys } from "../../cluster/src/trust/keys.ts";
import { mutate, type Mutation, type TextForm } from "./mutation.ts";

/** A body that nobody has signed yet. */
export interface Unsigned {
  readonly operation: ProvenOperation;
  /** Whose key signs; of a join: by which id the machine wants to come in. */
  readonly node: string;
  readonly body: object;
  readonly changes: readonly Mutation[];
  /** The changes come after the signature, as somebody on the way would make them. */
  readonly spoiltLater: boolean;
  readonly text: TextForm;
  /** Signed so long after the coordinator's time, or before it. */
  readonly lateMs: number;
  /** Of a rotation: the key that is to come. Of a join: the one that comes in. */
  readonly key: "new" | "own" | "another's";
  /** With the invitation, or the nonce, of the request before. */
  readonly again: boolean;
}

/** What a request is signed with at the moment in which it is sent. */
export interface Means {
  readonly cluster: string;
  readonly coordinatorKey: string;
  readonly now: number;
  readonly nonce: string;
  readonly keys: NodeKeys;
  /** Of a rotation. */
  readonly next: NodeKeys;
  /** Of a join. */
  readonly code: JoinCode | undefined;
}

type Body = Readonly<Record<string, unknown>>;

interface Proof {
  /** What this moment adds to the body. */
  fresh(unsigned: Unsigned, means: Means): Body;
  words(body: Body, node: string, means: Means): readonly unknown[];
  more?(words: Buffer, means: Means): Body;
}

const inTime = ({ lateMs }: Unsigned, { now, nonce }: Means): Body => ({ at: now + lateMs, nonce });
const ownWord = (act: string, what: string): Proof => ({
  fresh: inTime,
  words: (body, node, { cluster }) => [act, cluster, node, body[what], body["at"], body["nonce"]],
});

const PROOFS = {
  join: {
    fresh: ({ node }, { code, keys, nonce }) => ({ invite: code?.invite, node, publicKey: keys.publicKey, nonce }),
    words: (body) => ["join", ...["invite", "node", "publicKey", "hostname", "os", "nonce"].map((name) => body[name])],
    more: (words, { code }) => ({ proof: hmac(joinKey(code?.secret ?? ""), words) }),
  },
  session: {
    fresh: (_unsigned, { nonce }) => ({ nonce }),
    words: (body, node, { coordinatorKey }) => ["session", coordinatorKey, node, body["nonce"]],
  },
  probe: ownWord("probe", "kind"),
  leave: ownWord("leave", "wish"),
  rotate: {
    ...ownWord("rotate", "publicKey"),
    fresh: (unsigned, means) => ({ ...inTime(unsigned, means), publicKey: means.next.publicKey }),
    more: (words, { next }) => ({ possession: sign(words, next.seed) }),
  },
} as const satisfies Record<string, Proof>;

export type ProvenOperation = keyof typeof PROOFS;

/** Throws for an operation that wants a proof which nobody can make here. */
export function isProven(operation: string): operation is ProvenOperation {
  const { scope } = OPERATIONS[operation as keyof typeof OPERATIONS];
  if ((scope === "proof") !== operation in PROOFS) throw new Error(`the fuzzing does not know how ${operation} is proved`);
  return scope === "proof";
}

export const freshNonce = (): string => randomBytes(32).toString("base64url");

/** The whole body; something else where a change has put that in its place. */
export function signProven(unsigned: Unsigned, means: Means): unknown {
  const { operation, node, body, changes, spoiltLater } = unsigned;
  const proof: Proof = PROOFS[operation];
  const said = mutate({ ...body, ...proof.fresh(unsigned, means) }, spoiltLater ? [] : changes);
  if (typeof said !== "object" || said === null || Array.isArray(said)) return said;
  const words = Buffer.from(JSON.stringify(proof.words(said as Body, node, means)));
  const whole = { ...said, signature: sign(words, means.keys.seed), ...proof.more?.(words, means) };
  return spoiltLater ? mutate(whole, changes) : whole;
}

function hmac(key: string, words: Buffer): string {
  return createHmac("sha256", Buffer.from(key, "base64url")).update(words).digest("base64url");
}
