/** Which changes of etcd's members are refused, for every small cluster and every way to be half dead. */
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { majorityOf, refusalToAdd, refusalToRemove, type Vote } from "./etcd-quorum.ts";

const vote = (id: string, isAlive = true, learner = false): Vote => ({
  id,
  name: `node${id}`,
  learner,
  status: isAlive ? { leader: "1" } : undefined,
});
const members = fc
  .array(fc.tuple(fc.boolean(), fc.boolean()), { minLength: 1, maxLength: 7 })
  .map((list) => list.map(([isAlive, learner], at) => vote(String(at), isAlive, learner)));
const answering = (list: readonly Vote[]): number => list.filter(({ learner, status }) => !learner && status !== undefined).length;
const voters = (list: readonly Vote[]): number => list.filter(({ learner }) => !learner).length;

describe("the majority", () => {
  it("is more than half", () => {
    expect([1, 2, 3, 4, 5, 7].map(majorityOf)).toEqual([1, 2, 2, 3, 3, 4]);
  });

  it("still answers after whatever removal is not refused (Q1)", () => {
    fc.assert(
      fc.property(members, fc.nat(6), (list, at) => {
        const gone = list[at % list.length] as Vote;
        if (refusalToRemove(list, gone.id) !== undefined || gone.learner) return;
        const left = list.filter((one) => one !== gone);
        expect(answering(left)).toBeGreaterThanOrEqual(majorityOf(voters(left)));
        expect(voters(left)).toBeGreaterThan(0);
      }),
    );
  });

  it("still answers while a member that was added has not started, and when it votes and dies at once (Q1, Q2)", () => {
    fc.assert(
      fc.property(members, (list) => {
        if (refusalToAdd(list) !== undefined || list.length === 1) return;
        expect(answering(list)).toBe(list.length);
        expect(answering(list)).toBeGreaterThanOrEqual(majorityOf(list.length + 1));
      }),
    );
  });
});

describe("a refusal names whom it is about", () => {
  it.each<[what: string, said: string | undefined, expected: RegExp | undefined]>([
    ["a second member", refusalToAdd([vote("1")]), undefined],
    ["beside a dead one", refusalToAdd([vote("1"), vote("2", false), vote("3")]), /2 \(node2\) does not answer/],
    ["beside one that is coming", refusalToAdd([vote("1"), vote("2", true, true)]), /2 \(node2\) is still being added/],
    ["an eighth", refusalToAdd(["1", "2", "3", "4", "5", "6", "7"].map((id) => vote(id))), /more than 7/],
    ["a dead one of three", refusalToRemove([vote("1"), vote("2", false), vote("3")], "2"), undefined],
    ["a living one beside a dead one", refusalToRemove([vote("1"), vote("2", false), vote("3")], "3"), /only 1 of 2 would answer/],
    ["the only one", refusalToRemove([vote("1")], "1"), /is the only one/],
    ["a learner beside it", refusalToRemove([vote("1"), vote("2", false, true)], "2"), undefined],
    ["one that is gone already", refusalToRemove([vote("1")], "9"), undefined],
  ])("%s", (_, said, expected) => {
    if (expected === undefined) expect(said).toBeUndefined();
    else expect(said).toMatch(expected);
  });
});
