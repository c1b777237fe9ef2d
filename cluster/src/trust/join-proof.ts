/**
 * What a machine and a coordinator prove to each other when the machine joins. Both know the key that the join code's
 * secret gives, and neither sends it: each shows an HMAC over what it says of itself and over the other's words.
 *
 * P1. The store keeps the key and not the secret, for the code's ten minutes; whoever reads the key could join in that
 *     time, and whoever can read it owns the coordinator already.
 * P2. The request is signed by the node's own key as well: nobody can bring another's public key into the cluster.
 * P3. A reply is for one request: its proof covers the request's nonce.
 */
import { createHmac, hash, randomBytes, timingSafeEqual } from "node:crypto";
import type { JoinReply, JoinRequest } from "@openclaw-cluster/contract/join";
import { isSignedBy, signer } from "./signature.ts";

type Said = Omit<JoinRequest, "nonce" | "proof" | "signature">;
type Answer = Omit<JoinReply, "proof">;

/** SHA-256 of the secret, base64url: what the store keeps. */
export function joinKey(secret: string): string {
  return hash("sha256", `openclaw-cluster join key\n${secret}`, "base64url");
}

export function makeJoinRequest(said: Said, key: string, seed: Uint8Array): JoinRequest {
  const nonce = randomBytes(32).toString("base64url");
  const words = requestWords({ ...said, nonce });
  return { ...said, nonce, proof: proofOf(key, words), signature: sign(words, seed) };
}

/** Does whoever sent it know the code, and own the key that it names? */
export function isProven(request: JoinRequest, key: string): boolean {
  const words = requestWords(request);
  return same(request.proof, proofOf(key, words)) && isSigned(words, request.signature, request.publicKey);
}

export function makeJoinReply(answer: Answer, request: Pick<JoinRequest, "nonce">, key: string): JoinReply {
  return { ...answer, proof: proofOf(key, replyWords(answer, request.nonce)) };
}

/** Did it come from the coordinator that made the code, in answer to this request? */
export function isReplyProven({ proof, ...answer }: JoinReply, request: Pick<JoinRequest, "nonce">, key: string): boolean {
  return same(proof, proofOf(key, replyWords(answer, request.nonce)));
}

export function sign(words: Buffer, seed: Uint8Array): string {
  return signer(seed)(words).toString("base64url");
}

export function isSigned(words: Buffer, signature: string, publicKey: string): boolean {
  return isSignedBy(publicKey, words, Buffer.from(signature, "base64url"));
}

function requestWords({ invite, node, publicKey, hostname, os, nonce }: Said & Pick<JoinRequest, "nonce">): Buffer {
  return Buffer.from(JSON.stringify(["join", invite, node, publicKey, hostname, os, nonce]));
}

function replyWords({ node, cluster, name, state, coordinatorKey, authority }: Answer, nonce: string): Buffer {
  return Buffer.from(JSON.stringify(["joined", node, cluster, name, state, coordinatorKey, authority, nonce]));
}

function proofOf(key: string, words: Buffer): string {
  return createHmac("sha256", Buffer.from(key, "base64url")).update(words).digest("base64url");
}

function same(a: string, b: string): boolean {
  const [left, right] = [Buffer.from(a), Buffer.from(b)];
  return left.length === right.length && timingSafeEqual(left, right);
}
