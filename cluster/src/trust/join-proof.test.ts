import { NodeId } from "@openclaw-cluster/contract/ids";
import { ClusterId } from "@openclaw-cluster/contract/ids";
import { JoinReply, JoinRequest } from "@openclaw-cluster/contract/join";
import { describe, expect, test } from "vitest";
import { AUTHORITY } from "../../../tests/support/authority.ts";
import { createInvitation } from "./join-code.ts";
import { isProven, isReplyProven, joinKey, makeJoinReply, makeJoinRequest } from "./join-proof.ts";
import { createNodeKeys } from "./keys.ts";

const { invite, secret } = createInvitation();
const key = joinKey(secret);
const { publicKey, seed } = createNodeKeys();
const said = { invite, node: NodeId.parse("studio"), publicKey, hostname: "studio.local", os: "darwin" };
const answer = {
  node: said.node,
  cluster: ClusterId.parse("abcdefgh"),
  name: "home",
  state: "pending" as const,
  coordinatorKey: createNodeKeys().publicKey,
  authority: AUTHORITY.certificate,
};

describe("a request", () => {
  const request = makeJoinRequest(said, key, seed);

  test("is proven to whoever knows the key, has the form of the wire, and holds no secret", () => {
    expect(JoinRequest.parse(request)).toEqual(request);
    expect(isProven(request, key)).toBe(true);
    for (const hidden of [secret, key]) expect(JSON.stringify(request)).not.toContain(hidden);
  });

  test("is not proven with another code, with any word changed, or with another's public key", () => {
    expect(isProven(request, joinKey(createInvitation().secret))).toBe(false);
    const other = createNodeKeys().publicKey;
    const changes: Partial<JoinRequest>[] = [
      { node: NodeId.parse("nas") },
      { hostname: "nas" },
      { os: "linux" },
      { nonce: key },
      { publicKey: other },
      { proof: key },
      { signature: "A".repeat(86) },
    ];
    for (const change of changes) expect(isProven({ ...request, ...change }, key)).toBe(false);
    // Whoever knows the code cannot bring in a key that is not theirs.
    expect(isProven(makeJoinRequest({ ...said, publicKey: other }, key, seed), key)).toBe(false);
  });
});

describe("a reply", () => {
  const request = makeJoinRequest(said, key, seed);
  const reply = makeJoinReply(answer, request, key);

  test("is proven for its request, and for no other", () => {
    expect(JoinReply.parse(reply)).toEqual(reply);
    expect(isReplyProven(reply, request, key)).toBe(true);
    expect(isReplyProven(reply, makeJoinRequest(said, key, seed), key)).toBe(false);
    expect(isReplyProven({ ...reply, state: "approved" }, request, key)).toBe(false);
    expect(isReplyProven({ ...reply, coordinatorKey: createNodeKeys().publicKey }, request, key)).toBe(false);
    expect(isReplyProven({ ...reply, authority: `${reply.authority}\n` }, request, key)).toBe(false);
    expect(isReplyProven(reply, request, joinKey("other"))).toBe(false);
  });

  test("a request does not prove a reply", () => {
    expect(isReplyProven({ ...reply, proof: request.proof }, request, key)).toBe(false);
  });
});
