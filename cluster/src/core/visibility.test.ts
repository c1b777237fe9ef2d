import type { ClusterEvent } from "@openclaw-cluster/contract/events";
import type { NodeId, TaskId } from "@openclaw-cluster/contract/ids";
import { ModelRequestRecord as RequestForm, type ModelRequestId, type ModelRequestRecord } from "@openclaw-cluster/contract/model-requests";
import type { Node } from "@openclaw-cluster/contract/node";
import type { Attempt, Task } from "@openclaw-cluster/contract/task";
import { ClusterEvent as EventForm } from "@openclaw-cluster/contract/events";
import { Attempt as AttemptForm, Task as TaskForm } from "@openclaw-cluster/contract/task";
import { Scope } from "@openclaw-cluster/contract/scopes";
import { TaskSpec } from "@openclaw-cluster/contract/task-spec";
import { describe, expect, it } from "vitest";
import { facts } from "./scheduling/fixtures.ts";
import { attemptsFor, eventFor, modelRequestFor, mustSee, nodesFor, notYours, onlyOf, readerOf, sees, taskFor } from "./visibility.ts";

const SECRET = "canary";
const ID = "t7" as TaskId;
const NODE = "studio" as NodeId;
const ERROR = { code: "command_failed", message: `${SECRET} message`, data: { stderr: `${SECRET} data` } } as const;

/** Of each kind, with the secret wherever a person or a program could have put one. */
const SPECS: readonly TaskSpec[] = [
  { kind: "echo", input: { value: SECRET } },
  { kind: "command", input: { argv: [SECRET], cwd: `/${SECRET}`, env: { A: SECRET }, stdin: SECRET } },
  { kind: "agent", input: { message: SECRET, agent: SECRET, session: SECRET, model: SECRET, skill: SECRET } },
  { kind: "tool", input: { tool: SECRET, args: { a: SECRET } } },
].map((spec) => TaskSpec.parse({ ...spec, dedupeKey: SECRET, name: "nightly", labels: { room: "office" }, priority: 7, onLost: "ask" }));

const taskOf = (spec: TaskSpec): Task => ({
  ...{ id: ID, kind: spec.kind, name: "nightly", owner: "ann", state: "failed", reason: "attempts_spent", seq: 9, attempt: 2 },
  ...{ node: NODE, priority: 7, createdAt: 1, startedAt: 2, endedAt: 3, spec },
  progress: { fraction: 0.5, text: SECRET },
  result: { text: SECRET },
  resultBlob: { blob: SECRET, bytes: 7 },
  error: ERROR,
});
const ATTEMPT: Attempt = { n: 1, node: NODE, epoch: 3, state: "ended", outcome: "failed", offeredAt: 1, endedAt: 3, error: ERROR };
const EVENTS: readonly ClusterEvent[] = [
  {
    ...{ id: 1, at: 2, type: "task", task: ID, owner: "ann", state: "failed", reason: "attempts_spent", seq: 9, attempt: 2 },
    ...{ node: NODE, startedAt: 2, result: SECRET, error: ERROR },
  },
  { id: 2, at: 2, type: "progress", task: ID, owner: "ann", progress: { fraction: 0.5, text: SECRET } },
];

type NodePolicy = NonNullable<Node["facts"]>["policy"];

function nodeOf(policy: NodePolicy): Node {
  const state = {
    id: NODE,
    fingerprint: "abcd",
    state: "ready",
    draining: false,
    labels: {},
    slots: 1,
    slotsUsed: 0,
    memoryReservedMiB: 0,
  } as const;
  return { ...state, registeredAt: 1, succeeded: 0, failed: 0, facts: { ...facts(), policy } };
}

const token = (scope: Scope, user = "bob") => readerOf({ name: "laptop", user, scope });
const STRANGERS = [token("viewer"), token("submitter")];
const ENTITLED = [token("viewer", "ann"), token("submitter", "ann"), token("operator"), token("admin")];

describe("the owner, by whatever token, and who holds operator", () => {
  it("V4: get the very objects", () => {
    for (const reader of ENTITLED) {
      const task = taskOf(SPECS[0] as TaskSpec);
      expect(taskFor(reader, task)).toBe(task);
      const attempts = [ATTEMPT];
      expect(attemptsFor(reader, "ann", attempts)).toBe(attempts);
      for (const event of EVENTS) expect(eventFor(reader, event)).toBe(event);
      expect(() => mustSee(reader, task)).not.toThrow();
    }
  });
});

describe("a node's policy", () => {
  const kinds: NodePolicy["kinds"] = ["agent", "command", "tool"];
  const short = { kinds, tools: { allow: ["web_*"], deny: [] }, commands: ["git"], users: { allow: ["*"], deny: [] } };
  const rules = { commands: [`git clone ${SECRET}`], folders: [`/home/${SECRET}`], variables: [SECRET], secrets: [SECRET] };
  const node = nodeOf({ ...short, rules, sessions: [`whatsapp:${SECRET}`] });

  it("V5: whole for operators, without its lines and the names of conversations for others, their own user's too", () => {
    for (const scope of ["operator", "admin"] as const) expect(nodesFor(token(scope), [node])[0]).toBe(node);
    for (const scope of ["viewer", "submitter"] as const) {
      const [shown] = nodesFor(token(scope, "ann"), [node]);
      expect(shown?.facts?.policy).toEqual(short);
      expect(JSON.stringify(shown)).not.toContain(SECRET);
    }
  });
});

describe("others", () => {
  it.each(SPECS)("V2, V3: see the outline of $kind, which is all that the schema allows and no word of the payload", (spec) => {
    for (const reader of STRANGERS) {
      const shown = taskFor(reader, taskOf(spec));
      expect(JSON.stringify(shown)).not.toContain(SECRET);
      const { progress: _p, result: _r, resultBlob: _b, error: _e, spec: _s, ...rest } = taskOf(spec);
      const outline = { kind: spec.kind, name: "nightly", labels: { room: "office" }, priority: 7, onLost: "ask" };
      expect(shown).toStrictEqual({ ...rest, hidden: true, progress: { fraction: 0.5 }, spec: outline });
      expect(TaskForm.safeParse(shown).error).toBeUndefined();
    }
  });

  it("V3: do not see a field that nobody thought of", () => {
    const odd = { ...taskOf(SPECS[0] as TaskSpec), later: SECRET, spec: { ...SPECS[0], later: SECRET } } as unknown as Task;
    const [event] = EVENTS.map((one) => ({ ...one, later: SECRET }) as unknown as ClusterEvent) as [ClusterEvent];
    for (const reader of STRANGERS) expect(JSON.stringify([taskFor(reader, odd), eventFor(reader, event)])).not.toContain(SECRET);
  });

  it("see attempts and events, without what they say", () => {
    for (const reader of STRANGERS) {
      const [attempt] = attemptsFor(reader, "ann", [ATTEMPT]);
      const { error: _its, ...rest } = ATTEMPT;
      expect(attempt).toStrictEqual(rest);
      expect(AttemptForm.safeParse(attempt).error).toBeUndefined();
      for (const event of EVENTS) {
        const shown = eventFor(reader, event);
        expect(shown).toMatchObject({ id: event.id, task: ID, owner: "ann", hidden: true });
        expect(JSON.stringify(shown)).not.toContain(SECRET);
        expect(EventForm.safeParse(shown).error).toBeUndefined();
      }
    }
  });

  it("are refused the rest, and told what it takes", () => {
    for (const reader of STRANGERS) expect(() => mustSee(reader, { id: ID, owner: "ann" })).toThrow(notYours(ID, "ann").message);
    expect(notYours(ID, "ann")).toMatchObject({
      code: "forbidden",
      detail: "t7 belongs to ann; for tasks of others a token needs the scope operator.",
    });
  });
});

describe("a request for a model", () => {
  const place = { node: NODE, endpoint: "ollama", model: "qwen3:8b" };
  const request: ModelRequestRecord = {
    ...{ id: "aaaaaaaa" as ModelRequestId, at: 1, user: "ann", lane: "batch", path: "/responses", name: "auto", on: NODE },
    ...{ promptTokens: 1, outputTokens: 2, streams: true, state: "failed", waitedMs: 3, endedAt: 4, candidates: [] },
    passedOver: [{ ...place, code: "forbidden", detail: "is not lent" }],
    passedOverMore: 1,
    attempts: [{ ...place, waitedMs: 3, firstTokenMs: 1, tokens: 2, tokensPerS: 3, ending: "cut", error: SECRET }],
    refusal: { code: "node_lost", message: SECRET },
  };

  it("V4, V6: is whole for whoever asked and for operators", () => {
    for (const reader of ENTITLED) expect(modelRequestFor(reader, request)).toBe(request);
  });

  it("V3, V6: is an outline for others, without what servers said, and without a field that nobody thought of", () => {
    const odd = { ...request, later: SECRET, attempts: request.attempts.map((one) => ({ ...one, later: SECRET })) };
    for (const reader of STRANGERS) {
      const shown = modelRequestFor(reader, odd);
      expect(JSON.stringify(shown)).not.toContain(SECRET);
      const attempts = request.attempts.map(({ error: _its, ...rest }) => rest);
      expect(shown).toStrictEqual({ ...request, attempts, refusal: { code: "node_lost", message: "" }, hidden: true });
      expect(RequestForm.safeParse(shown).error).toBeUndefined();
    }
  });
});

it("a task whose owner nobody knows is nobody's, whatever a token's user is called", () => {
  for (const owner of [undefined, ""]) {
    expect(STRANGERS.some((reader) => sees(reader, owner))).toBe(false);
    expect(sees(token("operator"), owner)).toBe(true);
    expect(notYours(ID, owner).detail).toContain("to nobody who is still known");
  }
});

it("a token of before there were users speaks for its name", () => {
  expect(readerOf({ name: "ann", scope: "viewer" })).toEqual({ user: "ann", all: false });
  expect(Scope.options.map((scope) => onlyOf(token(scope)))).toEqual(["bob", "bob", undefined, undefined]);
});

it("events that are nobody's are everybody's", () => {
  const node: ClusterEvent = { id: 3, at: 2, type: "node", node: NODE, state: "ready", draining: false };
  const gap: ClusterEvent = { id: 4, at: 2, type: "gap" };
  for (const reader of STRANGERS) for (const event of [node, gap]) expect(eventFor(reader, event)).toBe(event);
});
