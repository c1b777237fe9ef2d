/** One client and several control nodes that tell of one truth: which of them is used, and what is sent twice. */
import { once } from "node:events";
import { createServer, type IncomingMessage, type Server, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { ADDRESSES } from "@openclaw-cluster/contract/client/addresses";
import { openClient, type Client } from "@openclaw-cluster/contract/client/client";
import { fetchTransport } from "@openclaw-cluster/contract/client/fetch-transport";
import { nodeTransport } from "@openclaw-cluster/contract/client/node-transport";
import type { Transport } from "@openclaw-cluster/contract/client/transport";
import { ClusterError, toProblem, type ErrorCode } from "@openclaw-cluster/contract/errors";
import type { TaskId } from "@openclaw-cluster/contract/ids";
import { LIMITS } from "@openclaw-cluster/contract/limits";
import type { TaskSpec } from "@openclaw-cluster/contract/task-spec";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { startApi, type TestApi } from "../support/api-server.ts";
import { openChaosProxy, type ChaosProxy } from "../support/chaos-proxy.ts";
import { FakeCoordinator } from "../support/fake-coordinator.ts";

/** What a busy machine may add to a bound. */
const SLACK_MS = 3_000;

let truth: FakeCoordinator;
let a: TestApi;
let b: TestApi;
let toA: ChaosProxy;
let toB: ChaosProxy;
let client: Client | undefined;
let standIns: Server[];

beforeEach(async () => {
  truth = new FakeCoordinator();
  standIns = [];
  toA = await openChaosProxy();
  toB = await openChaosProxy();
  const allowedHosts = [toA, toB].map(({ port }) => `127.0.0.1:${port}`);
  a = await startApi({ coordinator: truth, allowedHosts });
  b = await startApi({ coordinator: truth, allowedHosts });
  toA.target = { port: a.port };
  toB.target = { port: b.port };
});
afterEach(async () => {
  await client?.close();
  client = undefined;
  for (const server of standIns) {
    server.closeAllConnections();
    server.close();
  }
  for (const part of [toA, toB, a, b]) await part.close();
});

const at = ({ port }: { port: number }): string => `http://127.0.0.1:${port}`;
const echo = (value: string): TaskSpec => ({ kind: "echo", input: { value } });
const id = (n: number): TaskId => `t${n}` as TaskId;

function open(urls: readonly string[], transport: Transport = nodeTransport()): Client {
  client = openClient({ urls, token: truth.tokenFor("admin"), transport });
  return client;
}

/** A control node of another kind; `asked` says what came to it, as `POST /api/v1/tasks`. */
async function standIn(answer: (request: IncomingMessage, response: ServerResponse) => void): Promise<{ url: string; asked: string[] }> {
  const asked: string[] = [];
  const server = createServer((request, response) => {
    asked.push(`${request.method} ${request.url}`);
    request.resume().once("end", () => answer(request, response));
  }).listen(0, "127.0.0.1");
  await once(server, "listening");
  standIns.push(server);
  return { url: at(server.address() as AddressInfo), asked };
}

const silent = (): void => undefined;

function refuses(code: ErrorCode): (request: IncomingMessage, response: ServerResponse) => void {
  const error = new ClusterError(code, "no leader");
  return (_request, response) => void response.writeHead(error.row.status).end(JSON.stringify(toProblem(error)));
}

async function nobody(): Promise<string> {
  const { url } = await standIn(silent);
  const server = standIns.pop();
  await new Promise((resolve) => server?.close(resolve));
  return url;
}

async function took<T>(act: Promise<T>): Promise<{ ms: number; value: T }> {
  const begun = performance.now();
  return { value: await act, ms: performance.now() - begun };
}

describe.each([
  ["node:http", nodeTransport],
  ["fetch", fetchTransport],
])("over %s", (_name, transport) => {
  test("one that refuses costs one attempt, and is not asked again", async () => {
    const plain = open([await nobody(), at(toB)], transport());
    expect((await took(plain.submit(echo("a")))).ms).toBeLessThan(SLACK_MS);
    await Promise.all([plain.submit(echo("b")), plain.cluster(), plain.drain({ id: (await plain.nodes()).nodes[0]!.id })]);
    expect(truth.tasks.size).toBe(2);
  });

  test("one that answers that it cannot serve now sends a request on, and has it back when nobody else can", async () => {
    let leads = false;
    const standby = await standIn((request, response) => {
      if (!leads) return refuses("unavailable")(request, response);
      response.writeHead(200, { "content-type": "application/json" }).end('{"status":"ok","problems":[],"checkedAt":1}');
    });
    const plain = open([standby.url, at(toB)], transport());
    expect(await plain.submit(echo("a"))).toMatchObject({ id: "t1" });
    expect(standby.asked).toEqual(["POST /api/v1/tasks"]);
    await toB.close();
    const waiting = plain.health();
    await expect.poll(() => standby.asked.length, { interval: 5 }).toBeGreaterThan(3);
    leads = true;
    expect(await waiting).toMatchObject({ status: "ok" });
  });

  test("one that hangs before it has answered anything is left, and its submit made once, at the next", async () => {
    const hung = await standIn(silent);
    const { ms, value } = await took(open([hung.url, at(toB)], transport()).submit(echo("a")));
    expect(value).toMatchObject({ id: "t1" });
    expect(ms).toBeLessThan(ADDRESSES.leftWithinMs + SLACK_MS);
    expect(hung.asked).toEqual(["POST /api/v1/tasks", "GET /healthz"]);
    await client?.submit(echo("b"));
    expect(hung.asked).toHaveLength(2);
    expect(truth.requests).toHaveLength(2);
  });

  test("an answer that is lost with its node: the same key makes nothing twice at the next", async () => {
    const plain = open([at(toA), at(toB)], transport());
    await plain.cluster();
    toA.weather({ down: { swallow: true } });
    const { ms, value } = await took(Promise.all(["a", "b"].map((text) => plain.submit(echo(text)))));
    expect(value).toMatchObject([
      { id: "t1", replayed: true },
      { id: "t2", replayed: true },
    ]);
    expect(ms).toBeLessThan(ADDRESSES.leftWithinMs + SLACK_MS);
    const [first, second] = truth.requests;
    expect(truth.requests).toHaveLength(2);
    expect(second?.idempotency).toEqual(first?.idempotency);
    expect(truth.tasks.size).toBe(2);
  });
});

test("one that dies in the midst of submits: each is made once, and none is lost", async () => {
  const plain = open([at(toA), at(toB)]);
  await plain.cluster();
  let answered = 0;
  truth.beforeAnswer = () => {
    if ((answered += 1) === 3) toA.cutAll();
  };
  const submits: Promise<unknown>[] = [];
  for (let n = 0; n < 40; n++) {
    submits.push(plain.submit(echo(`${n}`)));
    await new Promise(setImmediate);
  }
  await Promise.all(submits);
  const values = Array.from(truth.tasks.values(), ({ spec }) => (spec as { input: { value: string } }).input.value);
  expect(values.sort()).toEqual(Array.from({ length: 40 }, (_, n) => `${n}`).sort());
});

describe("what must not be done twice", () => {
  beforeEach(async () => {
    for (const value of ["a", "b"]) await truth.submit({ specs: [echo(value)], owner: "admin" } as never);
  });

  test("is an error of unknown outcome when its answer was cut, and goes to the next from then on", async () => {
    const plain = open([at(toA), at(toB)]);
    await plain.cluster();
    toA.answersToCut = 1;
    await expect(plain.cancel({ id: id(1) })).rejects.toMatchObject({
      code: "coordinator_unreachable",
      detail: expect.stringContaining(at(toA)) as string,
    });
    expect(truth.tasks.get(id(1))?.state).toBe("cancelled");
    toA.weather({ up: { swallow: true } });
    await plain.cancel({ id: id(2) });
    expect(toA.swallowedBytes).toBe(0);
  });

  test("goes on after a refusal that says that nothing was done; and no further where it may have been done", async () => {
    const standby = await standIn((request, response) => {
      if (request.url === "/healthz") response.end("{}");
      else refuses("unavailable")(request, response);
    });
    const cancel = truth.cancel.bind(truth);
    truth.cancel = async (task) => {
      const done = await cancel(task);
      toB.cutAll();
      return done;
    };
    await expect(open([standby.url, at(toB)]).cancel({ id: id(1) })).rejects.toMatchObject({ code: "coordinator_unreachable" });
    expect(standby.asked).toEqual(["GET /healthz", `POST /api/v1/tasks/${id(1)}/cancel`]);
    expect(truth.tasks.get(id(1))?.state).toBe("cancelled");
    expect(truth.kept).toHaveLength(1);
  });

  test("is not sent to one that hangs", async () => {
    const hung = await standIn(silent);
    const { ms } = await took(open([hung.url, at(toB)]).cancel({ id: id(1) }));
    expect(hung.asked).toEqual(["GET /healthz"]);
    expect(ms).toBeLessThan(ADDRESSES.probeMs + SLACK_MS);
    expect(truth.tasks.get(id(1))?.state).toBe("cancelled");
  });

  test("is not repeated after another answer than that nothing was done", async () => {
    const torn = await standIn((request, response) => {
      if (request.url === "/healthz") response.end("{}");
      else refuses("coordinator_unreachable")(request, response);
    });
    await expect(open([torn.url, at(toB)]).cancel({ id: id(1) })).rejects.toMatchObject({ code: "coordinator_unreachable" });
    expect(truth.tasks.get(id(1))?.state).toBe("queued");
  });
});

describe("a stream", () => {
  async function listen(heard: number[]): Promise<AbortController> {
    const leave = new AbortController();
    void (async () => {
      for await (const event of client!.events({ signal: leave.signal })) heard.push(event.type === "gap" ? -1 : event.id);
    })();
    await expect.poll(() => truth.listening).toBe(1);
    return leave;
  }

  test("goes on at the next address where it was, without a gap", async () => {
    await truth.submit({ specs: [echo("a")], owner: "admin" } as never);
    open([at(toA), at(toB)]);
    const heard: number[] = [];
    const leave = await listen(heard);
    truth.finish([id(1)]);
    await expect.poll(() => heard).toEqual([1]);
    await toA.close();
    truth.finish([id(1)]);
    await expect.poll(() => heard, { interval: 5 }).toEqual([1, 2]);
    truth.finish([id(1)]);
    await expect.poll(() => heard).toEqual([1, 2, 3]);
    expect(toB.open).toBeGreaterThan(0);
    leave.abort();
  });

  test("at a hung address is found out before its server's next heartbeat is due", async () => {
    await truth.submit({ specs: [echo("a")], owner: "admin" } as never);
    open([at(toA), at(toB)]);
    const heard: number[] = [];
    const leave = await listen(heard);
    truth.finish([id(1)]);
    await expect.poll(() => heard).toEqual([1]);
    toA.weather({ up: { swallow: true }, down: { swallow: true } });
    truth.finish([id(1)]);
    await expect.poll(() => heard, { timeout: ADDRESSES.streamLeftWithinMs + SLACK_MS }).toEqual([1, 2]);
    leave.abort();
  }, 20_000);

  test("a task that ends while the leader changes is heard of", async () => {
    const plain = open([at(toA), at(toB)]);
    truth.beforeAnswer = ([one]) => {
      if (one === undefined || truth.requests.length > 1) return;
      toA.cutAll();
      void toA.close();
      truth.finish([one.id], { result: "a" });
    };
    expect(await plain.run(echo("a"))).toMatchObject({ id: "t1", state: "succeeded", result: "a" });
  });
});

test("one that waits on purpose is alive, and stays in use", async () => {
  await truth.submit({ specs: [echo("a")], owner: "admin" } as never);
  const plain = open([at(toA), at(toB)]);
  const waitS = (2 * ADDRESSES.callSilentMs) / 1_000;
  expect(await plain.getTask({ id: id(1), wait: waitS })).toMatchObject({ state: "queued" });
  expect(toB.open).toBe(0);
});

test("one that hangs is waited for where no other answers", async () => {
  let probes = 0;
  let answer: (() => void) | undefined;
  const slow = await standIn((request, response) => {
    if (request.url === "/healthz") probes += 1;
    else answer = () => void response.end('{"status":"ok","problems":[],"checkedAt":1}');
    if (probes === 2) answer?.();
  });
  const waiting = open([slow.url, await nobody()]).health();
  expect(await waiting).toMatchObject({ status: "ok" });
  expect(slow.asked.filter((one) => one.includes("/api/"))).toHaveLength(1);
});

test("when none answers, the error names all that were tried", async () => {
  const urls = [await nobody(), await nobody()];
  await expect(open(urls).cluster()).rejects.toMatchObject({
    code: "coordinator_unreachable",
    detail: `The coordinator does not answer: ${urls[0]} (ECONNREFUSED), ${urls[1]} (ECONNREFUSED).`,
  });
});

test("there is a limit, and one address twice is one", () => {
  const urls = Array.from({ length: LIMITS.coordinatorUrlsMax + 1 }, (_, n) => `http://127.0.0.1:${n + 1}`);
  expect(() => openClient({ urls, transport: nodeTransport() })).toThrow(ClusterError);
  expect(() => openClient({ urls: [], transport: nodeTransport() })).toThrow(ClusterError);
  let opened = 0;
  const counted: Transport = (url) => {
    opened += 1;
    return nodeTransport()(url);
  };
  void openClient({ urls: ["http://127.0.0.1:1", "http://127.0.0.1:1/"], transport: counted }).close();
  expect(opened).toBe(1);
});

test("a closed client leaves nothing open, not even its probes", async () => {
  const hung = await standIn(silent);
  const other = await standIn(silent);
  const waiting = open([hung.url, other.url]).cluster();
  await expect.poll(() => hung.asked, { timeout: ADDRESSES.leftWithinMs }).toContain("GET /healthz");
  await client?.close();
  await expect(waiting).rejects.toMatchObject({ detail: "This client is closed." });
  const count = (server: Server | undefined): Promise<number> =>
    new Promise((resolve) => server?.getConnections((_error, n) => resolve(n)));
  await expect.poll(async () => (await count(standIns[0])) + (await count(standIns[1]))).toBe(0);
});
