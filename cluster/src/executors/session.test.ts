import type { ClusterId, TaskId } from "@openclaw-cluster/contract/ids";
import type { Submitter } from "@openclaw-cluster/contract/submitter";
import type { Offer } from "@openclaw-cluster/contract/wire";
import { expect, test } from "vitest";
import { chooseSession } from "./session.ts";

const CLUSTER = "aecnrow5" as ClusterId;
const ANN: Submitter = { token: "annannan", name: "ann" };
const BOB: Submitter = { token: "bobbobbo", name: "bob" };

interface Asked {
  readonly session?: string;
  readonly agent?: string;
  readonly by?: Submitter;
  readonly task?: string;
  readonly attempt?: number;
}

function keyOf({ session, agent, by, task = "t42", attempt = 1 }: Asked): string {
  const spec: Offer["spec"] = { kind: "agent", input: { message: "hello" } };
  const offer: Offer = { task: task as TaskId, attempt, epoch: attempt, spec, ...(by !== undefined && { submitter: by }) };
  return chooseSession({ defaultAgent: "main" }, { session, agent }, { cluster: CLUSTER, offer }).sessionKey;
}

test("without a name it is the task's own, in each attempt, whoever submitted it", () => {
  for (const attempt of [1, 2]) for (const by of [ANN, BOB]) expect(keyOf({ by, attempt })).toBe("agent:main:cluster-aecnrow5-t42");
});

test("a name is its user's own: over tasks, attempts and tokens the same, and never another's", () => {
  const hers = keyOf({ session: "daily", by: ANN });
  expect(hers).toMatch(/^agent:main:cluster-aecnrow5-u-[0-9a-f]{32}-daily$/);
  expect(keyOf({ session: "Daily", by: { ...ANN, token: "another" }, task: "t43", attempt: 2 })).toBe(hers);
  expect(keyOf({ session: "daily", by: BOB })).not.toBe(hers);
  expect(keyOf({ session: "daily", agent: "ops", by: ANN })).toBe(hers.replace("agent:main:", "agent:ops:"));
});

test("no name that one user can think of gives the key of another's session, or of a task's", () => {
  const taken = new Set([keyOf({ by: ANN }), keyOf({ session: "daily", by: ANN })]);
  const behind = keyOf({ session: "daily", by: ANN }).slice("agent:main:".length);
  // Those that begin so, the policy is asked about, by the name that they have there.
  for (const session of [`x:${behind}`, `.${behind}`, "u-daily", "-daily", "t42", "cluster", "cluster:aecnrow5-t42"])
    expect(taken.has(keyOf({ session, by: BOB }))).toBe(false);
});

test("the machine's own, by the word main or by their key, are taken as they are, but not those of another agent", () => {
  expect(keyOf({ session: "Main", by: BOB })).toBe("agent:main:main");
  expect(keyOf({ session: "agent:ops:daily", agent: "Ops", by: BOB })).toBe("agent:Ops:daily");
  expect(() => keyOf({ session: "agent:main:daily", agent: "ops", by: BOB })).toThrow("belongs to another agent");
});

test("the longest of all fits into what OpenClaw takes", () => {
  expect(keyOf({ session: "x".repeat(128), agent: "a".repeat(64), by: ANN }).length).toBeLessThan(256);
});
