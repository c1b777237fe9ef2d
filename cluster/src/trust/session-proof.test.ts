/** S4: the list of control nodes in an answer, signed and not, and what a node of the version before makes of it. */
import { ClusterId, NodeId } from "@openclaw-cluster/contract/ids";
import { Session } from "@openclaw-cluster/contract/join";
import { LIMITS } from "@openclaw-cluster/contract/limits";
import fc from "fast-check";
import { expect, test } from "vitest";
import { createNodeKeys } from "./keys.ts";
import { isSessionAnswer, makeSessionRequest, proveSession } from "./session-proof.ts";
import { signer } from "./signature.ts";

const NODE = NodeId.parse("nas");
const coordinator = createNodeKeys();
const question = makeSessionRequest(NODE, coordinator.publicKey, createNodeKeys().seed);
const TOLD = {
  ...{ node: NODE, cluster: ClusterId.parse("abcd1234"), state: "approved" as const, busUrls: ["nats://10.0.0.1:4222"] },
  ...{ coordinatorKey: coordinator.publicKey, epoch: 3, now: 1 },
};
const answerWith = (coordinatorUrls?: string[]): Session =>
  proveSession({ ...TOLD, ...(coordinatorUrls && { coordinatorUrls }) }, question, signer(coordinator.seed));
const isBelieved = (answer: Session): boolean => isSessionAnswer(NODE, answer, question, coordinator.publicKey);
/** As a node of the version before reads it: what it does not know falls away. */
const readBefore = ({ coordinatorUrls: _urls, coordinatorUrlsProof: _proof, ...known }: Session): Session => known;

test("any list of control nodes is believed as it was signed, and not otherwise", () => {
  const lists = fc.array(fc.string({ maxLength: 512 }), { maxLength: LIMITS.coordinatorUrlsMax });
  fc.assert(
    fc.property(lists, fc.string({ maxLength: 512 }), (urls, other) => {
      const answer = Session.parse(JSON.parse(JSON.stringify(answerWith(urls))));
      expect(isBelieved(answer)).toBe(true);
      expect(isBelieved({ ...answer, coordinatorUrls: [...urls, other] })).toBe(false);
      expect(isBelieved(readBefore(answer))).toBe(true);
    }),
    { numRuns: 50 },
  );
});

test("an answer without a list is as it always was, and a list cannot be put into it", () => {
  const answer = answerWith();
  expect(answer).not.toHaveProperty("coordinatorUrlsProof");
  expect(isBelieved(answer)).toBe(true);
  expect(isBelieved({ ...answer, coordinatorUrls: ["http://10.0.0.2:8888"] })).toBe(false);
  expect(isBelieved({ ...answer, coordinatorUrls: [], coordinatorUrlsProof: answer.proof })).toBe(false);
});

test("the list of another question is not believed", () => {
  const urls = ["http://10.0.0.2:8888"];
  const earlier = makeSessionRequest(NODE, coordinator.publicKey, createNodeKeys().seed);
  const old = proveSession({ ...TOLD, coordinatorUrls: urls }, earlier, signer(coordinator.seed));
  const { coordinatorUrlsProof } = old;
  expect(isBelieved({ ...answerWith(), coordinatorUrls: urls, coordinatorUrlsProof })).toBe(false);
});

test("a list without end is no answer", () => {
  const urls = Array.from({ length: LIMITS.coordinatorUrlsMax + 1 }, () => "http://10.0.0.2:8888");
  expect(Session.safeParse(answerWith(urls)).success).toBe(false);
});
