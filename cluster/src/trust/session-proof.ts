/**
 * What a node and its coordinator prove to each other when the node asks, over HTTP, whether it may come in and where the bus is.
 * The node knows its coordinator's key since it joined, and the coordinator the node's.
 *
 * S1. The question names the coordinator that it is for: to another one it means nothing, so that nobody who was asked can ask on.
 * S2. Each answer and each refusal is signed over the whole question, the node's signature included. So it cannot be kept for
 *     another question; and whoever stands in between cannot spoil a question, and hand on the refusal of that.
 * S3. A refusal is signed for anybody. It says its code and nothing else, so that the one for an id that is not there is like the
 *     one for a wrong key.
 * S4. The list of control nodes has a signature of its own beside the answer's, which is as nodes of an older version know it;
 *     whoever takes both away leaves an answer that says nothing of them.
 */
import { randomBytes } from "node:crypto";
import type { ErrorCode } from "@openclaw-cluster/contract/errors";
import type { NodeId } from "@openclaw-cluster/contract/ids";
import type { Session, SessionRequest } from "@openclaw-cluster/contract/join";
import { isSigned, sign } from "./join-proof.ts";
import type { Sign } from "./signature.ts";

type Told = Omit<Session, "proof" | "coordinatorUrlsProof">;

/** A node that has joined, asking who it is to this coordinator. */
export function makeSessionRequest(node: NodeId, coordinatorKey: string, seed: Uint8Array): SessionRequest {
  const nonce = randomBytes(32).toString("base64url");
  return { nonce, signature: sign(questionWords(node, coordinatorKey, nonce), seed) };
}

export function isSessionProven(node: NodeId, coordinatorKey: string, { nonce, signature }: SessionRequest, publicKey: string): boolean {
  return isSigned(questionWords(node, coordinatorKey, nonce), signature, publicKey);
}

/** `by`: with the coordinator's key. */
export function proveSession(told: Told, question: SessionRequest, by: Sign): Session {
  const signed = (words: Buffer): string => by(words).toString("base64url");
  const { coordinatorUrls: urls } = told;
  return {
    ...told,
    proof: signed(answerWords(told, question)),
    ...(urls !== undefined && { coordinatorUrlsProof: signed(urlsWords(told.node, urls, question)) }),
  };
}

/** Did the coordinator with this key say so, to this question of that node? */
export function isSessionAnswer(
  node: NodeId,
  { proof, coordinatorUrlsProof = "", ...told }: Session,
  question: SessionRequest,
  coordinatorKey: string,
): boolean {
  const { coordinatorUrls: urls } = told;
  return (
    told.node === node &&
    told.coordinatorKey === coordinatorKey &&
    isSigned(answerWords(told, question), proof, coordinatorKey) &&
    (urls === undefined || isSigned(urlsWords(node, urls, question), coordinatorUrlsProof, coordinatorKey))
  );
}

export function proveRefusal(node: NodeId, code: ErrorCode, question: SessionRequest, by: Sign): string {
  return by(refusalWords(node, code, question)).toString("base64url");
}

export function isRefusal(
  node: NodeId,
  { code, proof }: { readonly code: ErrorCode; readonly proof?: string | undefined },
  question: SessionRequest,
  coordinatorKey: string,
): boolean {
  return proof !== undefined && isSigned(refusalWords(node, code, question), proof, coordinatorKey);
}

function questionWords(node: NodeId, coordinatorKey: string, nonce: string): Buffer {
  return Buffer.from(JSON.stringify(["session", coordinatorKey, node, nonce]));
}

function answerWords({ node, cluster, state, busUrls, coordinatorKey, epoch, now }: Told, { nonce, signature }: SessionRequest): Buffer {
  return Buffer.from(JSON.stringify(["session told", coordinatorKey, node, cluster, state, busUrls, epoch, now, nonce, signature]));
}

function urlsWords(node: NodeId, urls: readonly string[], { nonce, signature }: SessionRequest): Buffer {
  return Buffer.from(JSON.stringify(["session urls", node, urls, nonce, signature]));
}

function refusalWords(node: NodeId, code: ErrorCode, { nonce, signature }: SessionRequest): Buffer {
  return Buffer.from(JSON.stringify(["session refused", code, node, nonce, signature]));
}
