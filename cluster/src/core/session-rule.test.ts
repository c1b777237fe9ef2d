import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { isNobodys, ownerWord, readSession, sessionRule } from "./session-rule.ts";

const ANN = { token: "annannan", name: "ann" };

describe("what a task means by a session", () => {
  test.each([
    [undefined, { kind: "task" }],
    ["daily", { kind: "own", name: "daily" }],
    ["Daily.2026-11", { kind: "own", name: "daily.2026-11" }],
    ["clusters", { kind: "own", name: "clusters" }],
    ["mainly", { kind: "own", name: "mainly" }],
    ["main", { kind: "machine", name: "main" }],
    ["MAIN", { kind: "machine", name: "main" }],
    ["cluster-aecnrow5-t42", { kind: "machine", name: "cluster-aecnrow5-t42" }],
    ["Cluster-aecnrow5-t42", { kind: "machine", name: "cluster-aecnrow5-t42" }],
    ["agent:main:whatsapp:group:1", { kind: "machine", agent: "main", name: "whatsapp:group:1" }],
    ["AGENT:Main:main", { kind: "machine", agent: "main", name: "main" }],
    ["agent:main", { kind: "machine", name: "agent:main" }],
    ["agent:", { kind: "machine", name: "agent:" }],
  ])("%s", (session, wanted) => {
    expect(readSession(session)).toEqual(wanted);
  });

  test("K1: no name, however written, is another's or the machine's", () => {
    const name = fc.oneof(fc.stringMatching(/^[A-Za-z0-9:_.-]{1,128}$/), fc.constantFrom("MaIn", "aGent:x:y", "CLUSTER-a-t1", "Agent::"));
    fc.assert(
      fc.property(name, (session) => {
        const wanted = readSession(session);
        const folded = session.toLowerCase();
        const isTheirs = folded === "main" || folded.startsWith("agent:") || folded.startsWith("cluster-");
        expect(wanted.kind).toBe(isTheirs ? "machine" : "own");
      }),
    );
  });
});

describe("what a policy opens (K3)", () => {
  test.each([
    [["main"], "main", "main"],
    [["MAIN"], "main", "MAIN"],
    [["whatsapp:*"], "whatsapp:group:1", "whatsapp:*"],
    [["*"], "main", "*"],
    [["cluster-*"], "cluster-aecnrow5-t42", "cluster-*"],
    [[], "main", undefined],
    [["mai"], "main", undefined],
    [["*", "c*", "*-t42"], "cluster-aecnrow5-t42", undefined],
    [["*"], "", undefined],
    [["*"], ":main", undefined],
  ])("%j on %s: %s", (patterns, name, rule) => {
    expect(sessionRule(patterns, name)).toBe(rule);
  });
});

test("a session by name belongs to a user, else to a token, and to nobody else", () => {
  expect(ownerWord(ANN)).not.toBe(ownerWord({ token: "annannan", name: "bob" }));
  expect(ownerWord(ANN)).toBe(ownerWord({ token: "another", name: "ann" }));
  expect(ownerWord({ token: "ann" })).not.toBe(ownerWord({ token: "x", name: "ann" }));
  expect(ownerWord({ token: "ann" })).toBe(ownerWord({ token: "ann", name: "" }));
  for (const nobody of [undefined, { token: "" }, { token: "", name: "" }]) {
    expect(ownerWord(nobody)).toBeUndefined();
    expect(isNobodys("daily", nobody)).toBe(true);
    for (const session of [undefined, "main", "agent:main:x"]) expect(isNobodys(session, nobody)).toBe(false);
  }
});
