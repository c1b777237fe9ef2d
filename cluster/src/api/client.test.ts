/** The client against the API over real sockets, with connections cut in between. */
import { openClient, type Client } from "@openclaw-cluster/contract/client/client";
import { fetchTransport } from "@openclaw-cluster/contract/client/fetch-transport";
import { nodeTransport } from "@openclaw-cluster/contract/client/node-transport";
import type { Transport } from "@openclaw-cluster/contract/client/transport";
import { ClusterError } from "@openclaw-cluster/contract/errors";
import type { ClusterEvent } from "@openclaw-cluster/contract/events";
import type { NodeId, TaskId } from "@openclaw-cluster/contract/ids";
import { InviteId } from "@openclaw-cluster/contract/join";
import { ModelRequestId } from "@openclaw-cluster/contract/model-requests";
import { OPERATIONS, type OperationName } from "@openclaw-cluster/contract/operations";
import type { TaskSpec } from "@openclaw-cluster/contract/task-spec";
import type { OutputChunk } from "@openclaw-cluster/contract/wire";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { startApi, type TestApi } from "../../../tests/support/api-server.ts";
import { openChaosProxy, type ChaosProxy } from "../../../tests/support/chaos-proxy.ts";
import { deskOf } from "../../../tests/support/model-sight.ts";
import { HER_REQUEST, plantedRequests } from "../../../tests/support/planted-tasks.ts";
import { createToken } from "../trust/token.ts";

let api: TestApi;
let proxy: ChaosProxy;
let client: Client;
let seen: Watched;

/** Counts the pieces of streams that the client has dealt with. */
interface Watched {
  pieces: number;
}

function watched(transport: Transport, count: Watched): Transport {
  return (url) => {
    const channel = transport(url);
    return {
      ...channel,
      stream: async (request) => {
        const stream = await channel.stream(request);
        return { ...stream, pieces: tallied(stream.pieces, count) };
      },
    };
  };
}

async function* tallied(pieces: AsyncIterable<string>, count: Watched): AsyncGenerator<string> {
  for await (const piece of pieces) {
    yield piece;
    count.pieces += 1;
  }
}

const echo = (value: string): TaskSpec => ({ kind: "echo", input: { value } });
const id = (n: number): TaskId => `t${n}` as TaskId;
const studio = "studio" as NodeId;

beforeEach(async () => {
  proxy = await openChaosProxy();
  api = await startApi({ allowedHosts: [`127.0.0.1:${proxy.port}`], models: deskOf(plantedRequests()) });
  proxy.target = { port: api.port };
});
afterEach(async () => {
  await client.close();
  await api.close();
  await proxy.close();
});

const SIGNED = { at: 1, nonce: "n".repeat(43), signature: "s".repeat(86) };

function open(transport: Transport = nodeTransport(), token: string = api.tokens.admin): Client {
  seen = { pieces: 0 };
  client = openClient({ url: `http://127.0.0.1:${proxy.port}`, token, transport: watched(transport, seen) });
  return client;
}

/** Cuts every connection, does something meanwhile, and waits until the client's stream stands again. */
async function cutWhile(meanwhile: () => void): Promise<void> {
  proxy.cutAll();
  await expect.poll(() => api.coordinator.listening + api.coordinator.reading, { interval: 1 }).toBe(0);
  meanwhile();
}

describe.each([
  ["node:http", nodeTransport],
  ["fetch", fetchTransport],
])("over %s", (_name, transport) => {
  test("every operation is a method whose answer fits its schema", async () => {
    const plain = open(transport());
    await plain.submitMany([echo("a"), echo("b")]);
    api.coordinator.finish([id(2)], { result: "b" });
    const calls: Record<Exclude<OperationName, "submit" | "events" | "logs">, () => Promise<unknown>> = {
      listTasks: () => plain.listTasks({ state: ["queued", "running"], limit: 3 }),
      deadLetters: () => plain.deadLetters(),
      bulk: () => plain.bulk({ action: "retry", filter: { dead: true }, dryRun: true }),
      getTask: () => plain.getTask({ id: id(1), wait: 0.001 }),
      why: () => plain.why({ id: id(1) }),
      attempts: () => plain.attempts({ id: id(1) }),
      result: () => plain.result({ id: id(2) }),
      cancel: () => plain.cancel({ id: id(1) }),
      retry: () => plain.retry({ id: id(2) }),
      answer: () => plain.answer({ id: id(1), decision: "fail" }),
      queue: () => plain.queue(),
      cluster: () => plain.cluster(),
      health: () => plain.health(),
      backup: () => plain.backup(),
      backups: () => plain.backups(),
      migrateStore: () => plain.migrateStore({ to: "etcd", endpoints: ["http://127.0.0.1:2379"] }),
      storeMigration: () => plain.storeMigration(),
      nodes: () => plain.nodes(),
      models: () => plain.models(),
      modelRequests: () => plain.modelRequests({ node: studio, limit: 5 }),
      modelRequest: () => plain.modelRequest({ id: ModelRequestId.parse(HER_REQUEST) }),
      planModel: () => plain.planModel({ model: "auto", messages: [{ role: "user", content: "hello" }] }),
      nodesOnline: () => plain.nodesOnline(),
      nodesWithSkill: () => plain.nodesWithSkill({ skill: "summarize" }),
      enrol: () => plain.enrol({ id: studio, publicKey: `U${"A".repeat(55)}` }),
      audit: () => plain.audit(),
      tokens: () => plain.tokens(),
      makeToken: () => plain.makeToken({ name: "ci", scope: "viewer" }),
      revokeToken: async () => plain.revokeToken({ id: (await plain.makeToken({ name: "ci", scope: "viewer" })).id }),
      rotateToken: async () => plain.rotateToken({ id: (await plain.makeToken({ name: "ci", scope: "viewer" })).id, graceMs: 60_000 }),
      invite: () => plain.invite({ approve: true, ttlMs: 60_000 }),
      join: () =>
        plain.join({
          ...{ invite: InviteId.parse("abcdefgh"), node: studio, publicKey: `U${"A".repeat(55)}`, hostname: "studio", os: "darwin" },
          ...{ nonce: "n".repeat(43), proof: "p".repeat(43), signature: "s".repeat(86) },
        }),
      session: () => plain.session({ id: studio, nonce: "n".repeat(43), signature: "s".repeat(86) }),
      probe: () => plain.probe({ id: studio, ...SIGNED, kind: "echo" }),
      leave: () => plain.leave({ id: studio, ...SIGNED, wish: "drain" }),
      rotate: () => plain.rotate({ id: studio, ...SIGNED, publicKey: `U${"A".repeat(55)}`, possession: "p".repeat(86) }),
      approveNode: () => plain.approveNode({ id: studio }),
      revokeNode: () => plain.revokeNode({ id: studio }),
      node: () => plain.node({ id: studio }),
      nodeHealth: () => plain.nodeHealth({ id: studio }),
      patchNode: () => plain.patchNode({ id: studio, labels: { gpu: null } }),
      drain: () => plain.drain({ id: studio }),
      resume: () => plain.resume({ id: studio }),
      shutdownNode: () => plain.shutdownNode({ id: studio }),
      promoteNode: () => plain.promoteNode({ id: studio }),
      demoteNode: () => plain.demoteNode({ id: studio }),
      removeNode: () => plain.removeNode({ id: studio }),
    };
    for (const [name, ask] of Object.entries(calls)) {
      const answer = await ask();
      expect({ name, error: OPERATIONS[name as OperationName].reply.safeParse(answer).error }).toEqual({ name, error: undefined });
    }
    expect(api.coordinator.listFilters).toEqual([{ states: ["queued", "running"] }, { dead: true }]);
    expect(await plain.plan([echo("a")])).toMatchObject([{ node: "studio" }]);
    expect(api.coordinator.tasks.size).toBe(2);
  });

  test("an error comes back as what it was", async () => {
    open(transport());
    const lost = client.getTask({ id: id(9) });
    await expect(lost).rejects.toBeInstanceOf(ClusterError);
    await expect(lost).rejects.toMatchObject({ code: "not_found", detail: "There is no task t9." });
    await expect(client.submit({ ...echo("a"), ...{ comand: 1 } })).rejects.toMatchObject({
      code: "bad_request",
      detail: "tasks[0]: unknown field `comand`",
    });
    api.coordinator.fault = new ClusterError("overloaded", "full", { retryAfterMs: 60_000 });
    await expect(client.cluster()).rejects.toMatchObject({ code: "overloaded", retryAfterMs: 60_000 });
  });

  test("run resolves with the end, good or bad", async () => {
    open(transport());
    api.coordinator.beforeAnswer = ([one]) => {
      if (one !== undefined) setImmediate(() => api.coordinator.finish([one.id], { result: "a" }));
    };
    expect(await client.run(echo("a"))).toMatchObject({ id: "t1", state: "succeeded", result: "a", node: "studio", attempt: 1 });
    api.coordinator.beforeAnswer = ([one]) => {
      if (one !== undefined)
        setImmediate(() => api.coordinator.finish([one.id], { state: "failed", error: { code: "agent_failed", message: "no" } }));
    };
    expect(await client.run(echo("b"))).toMatchObject({ state: "failed", error: { code: "agent_failed" } });
  });

  test("logs and events go on after a cut, with nothing lost and nothing twice", async () => {
    open(transport());
    await client.submit(echo("a"));
    const chunk = (n: number): OutputChunk => ({ task: id(1), attempt: 1, n, at: 1, stream: "stdout", text: `${n}` });
    const output = [chunk(0), chunk(1)];
    api.coordinator.output.set(id(1), output);
    const read: number[] = [];
    const reading = (async () => {
      for await (const { n } of client.logs(id(1), { follow: true })) read.push(n);
    })();
    await expect.poll(() => read).toEqual([0, 1]);
    await cutWhile(() => output.push(chunk(2)));
    await expect.poll(() => read).toEqual([0, 1, 2]);
    api.coordinator.finish([id(1)]);
    await reading;

    const heard: number[] = [];
    const leave = new AbortController();
    const listening = (async () => {
      for await (const event of client.events({ types: ["task"], signal: leave.signal })) heard.push(event.id);
    })();
    await expect.poll(() => api.coordinator.listening).toBe(1);
    const publish = (): void => api.coordinator.finish([id(1)]);
    publish();
    await expect.poll(() => heard).toEqual([2]);
    await cutWhile(publish);
    publish();
    await expect.poll(() => heard).toEqual([2, 3, 4]);
    leave.abort();
    await listening;
  });
});

test("submits of one turn arrive as one request, and the same POST sent twice makes nothing twice", async () => {
  open();
  await client.cluster();
  proxy.answersToCut = 1;
  const submitted = await Promise.all(["a", "b", "c"].map((value) => client.submit(echo(value))));
  expect(submitted.map((one) => one.id)).toEqual(["t1", "t2", "t3"]);
  expect(submitted.every(({ replayed }) => replayed)).toBe(true);
  expect(api.coordinator.tasks.size).toBe(3);
  const [first, second] = api.coordinator.requests;
  expect(api.coordinator.requests.map(({ specs }) => specs.length)).toEqual([3, 3]);
  expect(first?.idempotency?.key).toMatch(/^[0-9a-f]{32}-1$/);
  expect(second?.idempotency).toEqual(first?.idempotency);
});

test("one bad spec of a turn fails alone", async () => {
  open();
  const bad = { kind: "echo", input: { value: "b", nonsense: true } } as TaskSpec;
  const settled = await Promise.allSettled([echo("a"), bad, echo("c")].map((spec) => client.submit(spec)));
  expect(settled).toMatchObject([{ status: "fulfilled" }, { reason: { code: "bad_request" } }, { status: "fulfilled" }]);
  expect(Array.from(api.coordinator.tasks.values(), ({ spec }) => spec)).toEqual([echo("a"), echo("c")]);
});

test("an end that overtakes the answer is not lost", async () => {
  open();
  api.coordinator.beforeAnswer = async (submitted) => {
    const before = seen.pieces;
    api.coordinator.finish(
      submitted.map((one) => one.id),
      { result: "early" },
    );
    await expect.poll(() => seen.pieces, { interval: 1 }).toBeGreaterThan(before);
  };
  const ended = await Promise.all([client.run(echo("a")), client.run(echo("b"))]);
  expect(ended.map(({ id: task, result }) => [task, result])).toEqual([
    ["t1", "early"],
    ["t2", "early"],
  ]);
});

test("two runs that are answered with the same task both see its early end", async () => {
  open();
  api.coordinator.beforeAnswer = async (submitted) => {
    const [first, second] = submitted;
    if (first === undefined || second === undefined) throw new Error("the submits did not come together");
    Object.assign(second, { id: first.id, replayed: true });
    api.coordinator.finish([first.id], { result: "once" });
    await expect.poll(() => seen.pieces, { interval: 1 }).toBeGreaterThan(0);
  };
  const ended = await Promise.all([client.run(echo("a")), client.run(echo("a"))]);
  expect(ended.map(({ id: task, result }) => [task, result])).toEqual([
    ["t1", "once"],
    ["t1", "once"],
  ]);
});

test("all runs share one stream, and ends during a cut are caught up with", async () => {
  open();
  const runs = client.runMany([echo("a"), echo("b"), echo("c")]);
  // Numbered in the order of their arrival, and two requests may overtake each other.
  await expect.poll(() => api.coordinator.tasks.size).toBe(3);
  const single = client.run(echo("d"));
  await expect.poll(() => api.coordinator.tasks.size).toBe(4);
  expect(api.coordinator.listening).toBe(1);
  api.coordinator.finish([id(1)], { result: 1 });
  await expect.poll(() => seen.pieces).toBe(1);
  await cutWhile(() => api.coordinator.finish([id(2), id(3), id(4)], { result: 2 }));
  expect((await runs).map(({ result }) => result)).toEqual([1, 2, 2]);
  expect((await single).state).toBe("succeeded");
});

test("after a gap, and after a cut before any event, waited-for tasks are read anew", async () => {
  open();
  const first = client.run(echo("a"));
  await expect.poll(() => api.coordinator.tasks.size).toBe(1);
  // No event has been seen, so there is no id to go on from.
  await cutWhile(() => api.coordinator.finish([id(1)], { result: "unseen" }));
  expect((await first).result).toBe("unseen");

  const second = client.run(echo("b"));
  const third = client.run(echo("c"));
  await expect.poll(() => api.coordinator.tasks.size).toBe(3);
  api.coordinator.finish([id(2)], { result: "seen" });
  await second;
  await cutWhile(() => {
    api.coordinator.finish([id(3)], { result: "forgotten" });
    api.coordinator.publish({ id: 1_000, at: 1, type: "gap" });
    api.coordinator.kept = api.coordinator.kept.slice(-1);
  });
  expect((await third).result).toBe("forgotten");
});

test("a result that is too large for an event is fetched, and so is one that a replayed submit left behind", async () => {
  open();
  const large = "x".repeat(10_000);
  api.coordinator.beforeAnswer = ([one]) => {
    if (one !== undefined) setImmediate(() => api.coordinator.finish([one.id], { result: large }));
  };
  expect((await client.run(echo("a"))).result).toBe(large);
  api.coordinator.beforeAnswer = ([one]) => {
    const task = one === undefined ? undefined : api.coordinator.tasks.get(one.id);
    if (task !== undefined) api.coordinator.tasks.set(task.id, { ...task, state: "succeeded", result: "long ago" });
    if (one !== undefined) Object.assign(one, { state: "succeeded", replayed: true });
  };
  expect((await client.run(echo("b"))).result).toBe("long ago");
});

test("events of a client that stops listening stop on the server too", async () => {
  open();
  const heard: ClusterEvent[] = [];
  const listening = (async () => {
    for await (const event of client.events()) {
      heard.push(event);
      break;
    }
  })();
  await expect.poll(() => api.coordinator.listening).toBe(1);
  api.coordinator.publish({ id: 5, at: 1, type: "gap" });
  await listening;
  await expect.poll(() => api.coordinator.listening).toBe(0);
  expect(heard).toHaveLength(1);
});

test("a wrong token ends a stream and a run at once", async () => {
  open(nodeTransport(), createToken().token);
  await expect(client.run(echo("a"))).rejects.toMatchObject({ code: "unauthorized" });
  await expect(client.events()[Symbol.asyncIterator]().next()).rejects.toMatchObject({ code: "unauthorized" });
});

test("where nobody listens, the error says so after a few attempts", async () => {
  await api.close();
  open();
  await expect(client.cluster()).rejects.toMatchObject({ code: "coordinator_unreachable" });
});

test("close rejects what waits and leaves no connection", async () => {
  open();
  const run = client.run(echo("a"));
  const wait = client.getTask({ id: id(1), wait: 30 });
  const both = Promise.allSettled([run, wait]);
  await expect.poll(() => [api.coordinator.tasks.size, proxy.open > 0]).toEqual([1, true]);
  await client.close();
  expect(await both).toMatchObject([{ status: "rejected", reason: { code: "coordinator_unreachable" } }, { status: "rejected" }]);
  await expect.poll(() => proxy.open).toBe(0);
});
