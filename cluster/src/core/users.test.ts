import type { Submitter } from "@openclaw-cluster/contract/submitter";
import { expect, test } from "vitest";
import { judgeUser, Users } from "./users.ts";

const ann: Submitter = { token: "annannan", name: "ann" };
const nameless: Submitter = { token: "oldoldol" };
const ask = (users: object, who: Submitter | undefined): boolean => judgeUser(Users.parse(users), who).allow;

test.each<[object, Submitter | undefined, boolean]>([
  [{}, ann, true],
  [{}, undefined, true],
  [{ allow: ["ann"] }, ann, true],
  [{ allow: ["a*"] }, ann, true],
  [{ allow: ["bob"] }, ann, false],
  [{ allow: [] }, ann, false],
  [{ allow: ["token:annannan"] }, ann, true],
  [{ allow: ["token:*"] }, ann, true],
  [{ allow: ["token:annannax"] }, ann, false],
  [{ deny: ["bob"] }, ann, true],
])("%j on %j: %s", (users, who, expected) => {
  expect(ask(users, who)).toBe(expected);
});

test("deny wins over allow (N1)", () => {
  expect(judgeUser(Users.parse({ allow: ["*", "ann"], deny: ["a*"] }), ann)).toEqual({ allow: false, rule: "a*" });
  expect(ask({ allow: ["ann"], deny: ["token:annannan"] }, ann)).toBe(false);
});

test("no name passes for an id, and no id for a name (U1)", () => {
  expect(ask({ allow: ["token:annannan"] }, { token: "evilevil", name: "token:annannan" })).toBe(false);
  expect(ask({ allow: ["annannan"] }, ann)).toBe(false);
  expect(ask({ allow: ["*n"], deny: ["token:x"] }, { token: "x", name: "ann" })).toBe(false);
});

test("who is not known is allowed by no name and denied by any (U2)", () => {
  for (const who of [nameless, undefined]) {
    expect(ask({ allow: ["a*", "**x"] }, who)).toBe(false);
    expect(ask({ deny: ["bob"] }, who)).toBe(false);
    expect(ask({ allow: ["*"] }, who)).toBe(true);
  }
  expect(ask({ allow: ["token:oldoldol"] }, nameless)).toBe(true);
  expect(ask({ deny: ["token:bobbobbo"] }, nameless)).toBe(true);
  expect(ask({ deny: ["token:bobbobbo"] }, undefined)).toBe(false);
});
