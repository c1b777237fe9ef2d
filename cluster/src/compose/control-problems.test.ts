import type { ControlNode, StoreMember } from "@openclaw-cluster/contract/cluster";
import { NodeId } from "@openclaw-cluster/contract/ids";
import { expect, it } from "vitest";
import { problemsIn } from "./control-problems.ts";

const node = (name: string, state: ControlNode["state"], lagMs?: number): ControlNode => ({
  ...{ node: NodeId.parse(name), state, urls: [] },
  ...(lagMs !== undefined && { lagMs }),
});
const member = (name: string, state: StoreMember["state"]): StoreMember => ({ id: name, name, state, urls: [`https://${name}:2379`] });

it("finds nothing where all are there", () => {
  const nodes = [node("a", "leader"), node("b", "standby", 12), node("c", "witness")];
  expect(problemsIn({ nodes, members: [member("a", "follower"), member("b", "leader"), member("c", "follower")] })).toStrictEqual([]);
});

it("says who is away, how many are left, and that with one fewer nothing goes", () => {
  const nodes = [node("a", "leader"), node("b", "standby", 0), node("c", "away", 9_000)];
  expect(problemsIn({ nodes, members: [member("a", "leader"), member("b", "follower"), member("c", "away")] })).toStrictEqual([
    "The control node c is away: start its daemon there, or put another in its place.",
    "2 of 3 control nodes are left.",
    "The etcd member c does not answer at https://c:2379.",
    "2 of 3 etcd members are left: with one fewer nothing can be written.",
  ]);
});

it("says who is far behind", () => {
  expect(problemsIn({ nodes: [node("a", "leader"), node("b", "standby", 7_200)], members: [member("a", "leader")] })).toStrictEqual([
    "The control node b is 7 s behind: what it shows is old, and it would take over late.",
  ]);
});

it("says that nothing can be written without a majority, of which a learner is none", () => {
  const members = [member("a", "follower"), member("b", "away"), member("c", "away"), member("d", "learner")];
  expect(problemsIn({ nodes: [], members }).at(-1)).toBe("1 of 3 etcd members answer, and it takes 2: nothing can be written until then.");
  expect(problemsIn({ nodes: [] })).toStrictEqual(["No etcd member answers: nothing can be written until most of them do."]);
});
