/**
 * Signatures of what a node asks of its cluster with its key alone (contract/membership.ts).
 *
 * M1. One is good for one cluster, node, wish and minute: whoever hears it can neither bend it nor keep it for later.
 * M2. Of another key both have signed: nobody brings in a key that is not theirs, and the new one's owner is the node's.
 */
import { randomBytes } from "node:crypto";
import type { ClusterId, NodeId } from "@openclaw-cluster/contract/ids";
import { MEMBERSHIP, type LeaveRequest, type ProbeRequest, type RotateRequest, type Signed } from "@openclaw-cluster/contract/membership";
import { isSigned, sign } from "./join-proof.ts";
import type { NodeKeys } from "./keys.ts";

export interface Member {
  readonly cluster: ClusterId;
  readonly node: NodeId;
}

type Act = "probe" | "leave" | "rotate";

/** `at`: by the coordinator's clock. */
export function makeProbeRequest(member: Member, at: number, kind: ProbeRequest["kind"], { seed }: NodeKeys): ProbeRequest {
  return { ...signed(member, "probe", kind, at, seed), kind };
}

export function makeLeaveRequest(member: Member, at: number, wish: LeaveRequest["wish"], { seed }: NodeKeys): LeaveRequest {
  return { ...signed(member, "leave", wish, at, seed), wish };
}

export function makeRotateRequest(member: Member, at: number, from: NodeKeys, to: NodeKeys): RotateRequest {
  const { publicKey } = to;
  const first = signed(member, "rotate", publicKey, at, from.seed);
  return { ...first, publicKey, possession: sign(words(member, "rotate", publicKey, first), to.seed) };
}

export function isProbeProven(member: Member, request: ProbeRequest, publicKey: string): boolean {
  return isSigned(words(member, "probe", request.kind, request), request.signature, publicKey);
}

export function isLeaveProven(member: Member, request: LeaveRequest, publicKey: string): boolean {
  return isSigned(words(member, "leave", request.wish, request), request.signature, publicKey);
}

/** M2. `publicKey`: the one that the node has; once it is the one that is asked for, whoever has that may ask again. */
export function isRotationProven(member: Member, request: RotateRequest, publicKey: string): boolean {
  const said = words(member, "rotate", request.publicKey, request);
  if (!isSigned(said, request.possession, request.publicKey)) return false;
  return publicKey === request.publicKey || isSigned(said, request.signature, publicKey);
}

export function isFresh({ at }: Pick<Signed, "at">, now: number): boolean {
  return Math.abs(now - at) <= MEMBERSHIP.freshMs;
}

function signed(member: Member, act: Act, what: string, at: number, seed: Uint8Array): Signed {
  const said = { at: Math.round(at), nonce: randomBytes(32).toString("base64url") };
  return { ...said, signature: sign(words(member, act, what, said), seed) };
}

function words({ cluster, node }: Member, act: Act, what: string, { at, nonce }: Pick<Signed, "at" | "nonce">): Buffer {
  return Buffer.from(JSON.stringify([act, cluster, node, what, at, nonce]));
}
