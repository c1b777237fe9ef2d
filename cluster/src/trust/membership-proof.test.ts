import { ClusterId, NodeId } from "@openclaw-cluster/contract/ids";
import { LeaveRequest, MEMBERSHIP, ProbeRequest, RotateRequest } from "@openclaw-cluster/contract/membership";
import { describe, expect, test } from "vitest";
import { createNodeKeys } from "./keys.ts";
import {
  isFresh,
  isLeaveProven,
  isProbeProven,
  isRotationProven,
  makeLeaveRequest,
  makeProbeRequest,
  makeRotateRequest,
} from "./membership-proof.ts";

const member = { cluster: ClusterId.parse("abcdefgh"), node: NodeId.parse("nas") };
const keys = createNodeKeys();
const others = createNodeKeys();
const AT = 1_700_000_000_000;

describe("a probe and a leave", () => {
  const probe = makeProbeRequest(member, AT, "echo", keys);
  const leave = makeLeaveRequest(member, AT, "go", keys);

  test("have the form of the wire, and are proven by the key that signed them", () => {
    expect(ProbeRequest.parse(probe)).toEqual(probe);
    expect(LeaveRequest.parse(leave)).toEqual(leave);
    expect(isProbeProven(member, probe, keys.publicKey)).toBe(true);
    expect(isLeaveProven(member, leave, keys.publicKey)).toBe(true);
  });

  test("are not proven by another key, for another cluster or node, with another wish, time or nonce, nor as each other", () => {
    expect(isLeaveProven(member, leave, others.publicKey)).toBe(false);
    expect(isLeaveProven({ ...member, cluster: ClusterId.parse("zzzzzzzz") }, leave, keys.publicKey)).toBe(false);
    expect(isLeaveProven({ ...member, node: NodeId.parse("air") }, leave, keys.publicKey)).toBe(false);
    for (const change of [{ wish: "stay" as const }, { at: AT + 1 }, { nonce: "n".repeat(43) }, { signature: probe.signature }])
      expect(isLeaveProven(member, { ...leave, ...change }, keys.publicKey)).toBe(false);
    expect(isProbeProven(member, { ...probe, kind: "agent" }, keys.publicKey)).toBe(false);
  });
});

describe("an exchange of keys", () => {
  const request = makeRotateRequest(member, AT, keys, others);

  test("is signed by both, and by the next one alone once that is known", () => {
    expect(RotateRequest.parse(request)).toEqual(request);
    expect(isRotationProven(member, request, keys.publicKey)).toBe(true);
    expect(isRotationProven(member, request, others.publicKey)).toBe(true);
  });

  test("brings in no key that its owner has not signed for, and none in the name of a key that has not", () => {
    const third = createNodeKeys();
    expect(isRotationProven(member, { ...request, publicKey: third.publicKey }, keys.publicKey)).toBe(false);
    expect(isRotationProven(member, { ...request, possession: request.signature }, keys.publicKey)).toBe(false);
    expect(isRotationProven(member, request, third.publicKey)).toBe(false);
    expect(isRotationProven(member, makeRotateRequest(member, AT, third, others), keys.publicKey)).toBe(false);
  });
});

test("good for a minute before and after its time, and no longer", () => {
  for (const [ms, good] of [
    [0, true],
    [MEMBERSHIP.freshMs, true],
    [-MEMBERSHIP.freshMs, true],
    [MEMBERSHIP.freshMs + 1, false],
    [-MEMBERSHIP.freshMs - 1, false],
  ] as const)
    expect(isFresh({ at: AT }, AT + ms)).toBe(good);
});
