import { request } from "node:http";
import { connect } from "node:net";
import { Problem } from "@openclaw-cluster/contract/errors";
import { LIMITS } from "@openclaw-cluster/contract/limits";
import { pino } from "pino";
import { afterAll, beforeAll, expect, test } from "vitest";
import { startApi, type Answered, type Question, type TestApi } from "../../../tests/support/api-server.ts";
import { StoreBroken, StoreFenced } from "../store/store.ts";

let api: TestApi;
const logged: string[] = [];
beforeAll(async () => {
  api = await startApi({ log: pino({}, { write: (line: string) => void logged.push(line) }) });
});
afterAll(() => api.close());

const echo = { kind: "echo", input: {} };
const submit = (body: unknown, headers: Question["headers"] = {}): Promise<Answered> =>
  api.ask({ method: "POST", path: "/api/v1/tasks", body, headers });

/** What a refusal says, once it is proved to be a problem whose parts agree. */
function refusal(answer: Answered): { code: string; status: number; detail: string } {
  const { code, status, detail } = Problem.parse(answer.json);
  expect([answer.headers["content-type"], answer.status]).toEqual(["application/problem+json", status]);
  return { code, status, detail };
}

const saying = (part: string): string => expect.stringContaining(part) as string;

test.each([
  ["an unknown field", { ...echo, comand: 1 }, "unknown field `comand`"],
  ["an unknown field in an array", { tasks: [echo, { ...echo, comand: 1 }] }, "tasks[1]: unknown field `comand`"],
  ["an unknown field beside the array", { tasks: [echo], idempotencyKey: "x" }, "unknown field `idempotencyKey`"],
  ["a wrong type", { kind: "command", input: { argv: "ls" } }, "input.argv: Invalid input: expected array, received string"],
  ["no task", { tasks: [] }, "tasks: Too small"],
  ["too many tasks", { tasks: Array.from({ length: LIMITS.submitTasksMax + 1 }, () => echo) }, "tasks: Too big"],
  [
    "1,000 skills",
    { ...echo, require: { skills: Array.from({ length: 1_000 }, (_, n) => `s${n}`) } },
    "require.skills: Too big: expected array to have <=32 items",
  ],
  ["null", "null", "expected object, received null"],
  ["a number", "1e308", "expected object, received number"],
  ["an array", "[]", "expected object, received array"],
  ["bad JSON", '{"kind": "echo",}', "The body is not JSON: expected a field name at line 1 column 17."],
  ["an empty body", "", "The body is not JSON: expected a value at line 1 column 1."],
  ["bytes that are no UTF-8", Buffer.from([0x22, 0xff, 0x22]), "The body is not UTF-8."],
  [
    "a hundred thousand levels",
    `{"kind":"echo","input":{"value":${"[".repeat(100_000)}${"]".repeat(100_000)}}}`,
    "at most 200 levels deep",
  ],
  // Each of these would hold up everybody else for seconds, were it looked at.
  ["eight megabytes of brackets", "[".repeat(8_000_000), "The body is nested too deep; a value is at most 200 levels deep."],
  ["a fault behind seven megabytes", `[${"1,".repeat(3_500_000)}`, "The body is not JSON."],
  ["a list without end", { kind: "command", input: { argv: Array.from({ length: 40_000 }, () => 0) } }, "more than 20000 entries"],
  ["a time beyond time", { ...echo, runAt: 1e300 }, "runAt: Too big"],
])("a submit with %s is refused", async (_what, body, detail) => {
  const before = api.coordinator.requests.length;
  expect(refusal(await submit(body))).toEqual({ status: 400, code: "bad_request", detail: saying(detail) });
  expect(api.coordinator.requests).toHaveLength(before);
});

test("a body that pollutes prototypes pollutes nothing", async () => {
  const bodies = [
    '{"kind":"echo","input":{"value":{"__proto__":{"polluted":1}}}}',
    '{"kind":"echo","input":{"value":{"constructor":{"prototype":{"polluted":1}}}},"labels":{"__proto__":"x"}}',
    // The same key in escapes, and in each case a condition that would be gone without a word.
    String.raw`{"kind":"echo","input":{},"require":{"labels":{"\u005f_proto__":"x"}}}`,
    String.raw`{"tasks":[{"kind":"echo","input":{},"require":{"labels":{"__pr\u006fto__":"x"}}}]}`,
  ];
  expect(await Promise.all(bodies.map(async (body) => (await submit(body)).status))).toEqual([400, 400, 400, 400]);
  // It is the key that is meant, and no text.
  expect((await submit(String.raw`{"kind":"echo","input":{"value":"\u005f_proto__, __proto__"}}`)).status).toBe(202);
  expect(({} as { polluted?: number }).polluted).toBeUndefined();
});

test("one spec over its size is refused, and names its place", async () => {
  const large = { kind: "command", input: { argv: Array.from({ length: 10 }, () => "x".repeat(32_000)) } };
  expect(refusal(await submit(large))).toEqual({ status: 413, code: "payload_too_large", detail: saying(`The task has 320`) });
  expect(refusal(await submit({ tasks: [echo, large] }))).toEqual({
    status: 413,
    code: "payload_too_large",
    detail: saying("tasks[1] has 320"),
  });
  // Short on the wire, long when it is written out.
  const growing = `{"kind":"echo","input":{"value":[${Array.from({ length: 20_000 }, () => "1e20").join(",")}]}}`;
  expect(refusal(await submit(growing))).toEqual({ status: 413, code: "payload_too_large", detail: saying("The task has 4400") });
});

test("a body of 100 MB is refused long before it is read", async () => {
  const size = 100 * 1024 * 1024;
  const large = { status: 413, code: "payload_too_large", detail: saying("larger than 8388608 bytes") };
  expect(refusal(await unendingPost({ "content-length": String(size) }))).toEqual(large);
  expect(refusal(await unendingPost({ "transfer-encoding": "chunked" }))).toEqual(large);
});

/** Goes on sending until it is answered or cut off. */
function unendingPost(headers: Record<string, string>): Promise<Answered> {
  return new Promise((resolve, reject) => {
    const all = { authorization: `Bearer ${api.tokens.admin}`, "content-type": "application/json", ...headers };
    let answered = false;
    const post = request(
      { host: "127.0.0.1", port: api.port, method: "POST", path: "/api/v1/tasks", headers: all, agent: false },
      (answer) => {
        let text = "";
        answered = true;
        answer.on("data", (piece: Buffer) => (text += piece.toString()));
        answer.on("end", () => {
          post.destroy();
          resolve({ status: answer.statusCode ?? 0, headers: answer.headers, text, json: JSON.parse(text) });
        });
      },
    );
    post.on("error", (error) => {
      if (!answered) reject(error);
    });
    const piece = Buffer.alloc(256 * 1024, " ");
    const pump = (): void => {
      if (!answered) post.write(piece, () => setImmediate(pump));
    };
    pump();
  });
}

test.each([
  [{ "content-type": undefined }, "The body must be JSON"],
  [{ "content-type": "text/plain" }, "The body must be JSON"],
  [{ "content-type": "application/x-www-form-urlencoded" }, "The body must be JSON"],
  [{ "content-type": "application/jsonp" }, "The body must be JSON"],
  [{ "content-encoding": "gzip" }, "A compressed body is not accepted."],
])("%j is not JSON", async (headers, detail) => {
  expect(refusal(await submit(echo, headers))).toEqual({ status: 415, code: "unsupported_media_type", detail: saying(detail) });
});

test("JSON with a charset is JSON", async () => {
  expect((await submit(echo, { "content-type": "Application/JSON; charset=utf-8" })).status).toBe(202);
});

test.each(["", "a".repeat(257), "tab\there"])("Idempotency-Key %j is refused", async (key) => {
  expect(refusal(await submit(echo, { "idempotency-key": key }))).toEqual({
    status: 400,
    code: "bad_request",
    detail: saying("Idempotency-Key must be"),
  });
});

test("the same key and body is replayed with 200, another body is a conflict", async () => {
  const headers = { "idempotency-key": "order 66" };
  const first = await submit({ tasks: [echo, echo] }, headers);
  expect(first.status).toBe(202);
  const again = await submit({ tasks: [echo, echo] }, headers);
  expect(again.status).toBe(200);
  expect(again.json.tasks.map(({ id }: { id: string }) => id)).toEqual(first.json.tasks.map(({ id }: { id: string }) => id));
  expect(again.json.tasks).toMatchObject([{ replayed: true }, { replayed: true }]);
  expect(refusal(await submit({ tasks: [echo] }, headers))).toEqual({
    status: 409,
    code: "idempotency_mismatch",
    detail: saying("another body"),
  });
});

test("a plan makes nothing", async () => {
  const before = api.coordinator.tasks.size;
  const one = await api.ask({ method: "POST", path: "/api/v1/tasks?plan=true", body: echo });
  expect([one.status, one.json.node]).toEqual([200, "studio"]);
  const two = await api.ask({ method: "POST", path: "/api/v1/tasks?plan=true", body: { tasks: [echo, echo] } });
  expect(two.json.plans).toHaveLength(2);
  expect(api.coordinator.tasks.size).toBe(before);
});

test.each([
  ["GET", "/api/v1/tasks/t999", 404, "not_found", "There is no task t999."],
  ["GET", "/api/v1/nodes/nowhere", 404, "not_found", "There is no node nowhere."],
  ["GET", "/api/v1/tasks/42", 400, "bad_request", "id: a task id looks like t42"],
  ["GET", "/api/v1/tasks/t1%2f..%2f..", 400, "bad_request", "id: a task id looks like t42"],
  ["GET", "/api/v1/nodes/NAS", 400, "bad_request", "id: 1 to 32 characters of a-z and 0-9"],
  ["GET", "/api/v1/tasks?limit=0", 400, "bad_request", "query.limit: "],
  ["GET", "/api/v1/tasks?stat=queued", 400, "bad_request", "query: unknown field `stat`"],
  ["GET", "/api/v1/queue?limit=1&limit=2", 400, "bad_request", "query.limit: "],
  ["GET", "/api/v1/tasks/t1?wait=3600", 400, "bad_request", "query.wait: "],
  ["GET", "/api/v1/events?types=tasks", 400, "bad_request", "`tasks` is none of task, progress, node"],
  ["GET", "/api/v2/tasks", 404, "not_found", "nothing at this path"],
  ["DELETE", "/api/v1/tasks", 405, "method_not_allowed", "This path takes POST, GET."],
  ["OPTIONS", "/api/v1/tasks", 405, "method_not_allowed", "This path takes POST, GET."],
  ["PUT", "/api/v1/nodes/studio", 405, "method_not_allowed", "This path takes GET, PATCH, DELETE."],
])("%s %s → %d %s", async (method, path, status, code, detail) => {
  expect(refusal(await api.ask({ method, path }))).toEqual({ status, code, detail: saying(detail) });
});

test("HEAD of a stream opens none", async () => {
  expect((await api.ask({ method: "HEAD", path: "/api/v1/events" })).status).toBe(405);
  expect(api.coordinator.listening).toBe(0);
});

test.each([new StoreBroken("the disk is gone"), new StoreFenced("epoch 3 is not the newest one")])(
  "a store that is lost passes by itself: %s",
  async (fault) => {
    const own = await startApi();
    own.coordinator.fault = fault;
    expect(refusal(await own.ask({ path: "/api/v1/cluster" }))).toEqual({
      status: 503,
      code: "unavailable",
      detail: saying("lost its store"),
    });
    await own.close();
  },
);

test("a fault of ours is told to the log, not to the caller", async () => {
  const own = await startApi({ log: pino({}, { write: (line: string) => void logged.push(line) }) });
  own.coordinator.fault = new Error("the secret of the store");
  const answer = await own.ask({ path: "/api/v1/cluster" });
  expect(refusal(answer)).toEqual({ status: 500, code: "internal", detail: saying("its log has the cause") });
  expect(answer.text).not.toContain("secret of the store");
  expect(logged.join("")).toContain("the secret of the store");
  await own.close();
});

test("no token ever stands in the log", () => {
  for (const token of Object.values(api.tokens)) expect(logged.join("")).not.toContain(token);
});

test.each([
  ["not HTTP at all", "hello\r\n\r\n", /^HTTP\/1\.1 400 .*"code":"bad_request".*This is not HTTP/s],
  [
    "headers without end",
    `GET /healthz HTTP/1.1\r\nHost: x\r\nX: ${"a".repeat(20_000)}\r\n\r\n`,
    /^HTTP\/1\.1 400 .*The headers are larger than 8192 bytes/s,
  ],
  [
    "an impossible path",
    "GET http://[ HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n",
    /^HTTP\/1\.1 400 .*"code":"bad_request"/s,
  ],
  ["no Host", "GET /healthz HTTP/1.0\r\n\r\n", /^HTTP\/1\.1 (400|421) .*"code":"(bad_request|misdirected)"/s],
])("%s is answered and closed", async (_what, bytes, expected) => {
  const socket = connect(api.port, "127.0.0.1");
  socket.write(bytes);
  let text = "";
  for await (const piece of socket) text += String(piece);
  expect(text).toMatch(expected);
});
