/** The tools of the fuzzing bite: what they are there to find is planted, beside the nearest thing that they must let pass. */
import { OPERATIONS } from "@openclaw-cluster/contract/operations";
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { openApiDocument } from "../cluster/src/api/openapi.ts";
import { AnswerReading } from "./fuzz/answer-reading.ts";
import { byCount, byTime, tooMuch } from "./fuzz/budget.ts";
import { countingLog } from "./fuzz/counting-log.ts";
import type { Answer } from "./fuzz/exchange.ts";
import { faultsOf } from "./fuzz/judge.ts";
import { describedIn, requestsFor, type OpenApi, type Shot } from "./fuzz/requests.ts";

const document = openApiDocument(OPERATIONS, "0") as unknown as OpenApi;
const ground = { operations: describedIn(document), folders: ["/home/of/coordinator"] };
const JSON_TYPE = new Map([["content-type", "application/json"]]);
const PROBLEM_TYPE = new Map([["content-type", "application/problem+json"]]);
const get = (operation: string, target: string): Shot => ({
  ...{ operation, as: "admin", method: "GET", target: `/api/v1${target}`, headers: [], body: undefined },
});
const HEALTH = get("health", "/cluster/health");
const LOGS = get("logs", "/tasks/t1/logs");
const CHUNK = { task: "t1", attempt: 1, n: 0, at: 1, stream: "stdout", text: "hello" };
const problem = (status: number, more: object = {}): Answer => ({
  ...{ status, headers: PROBLEM_TYPE },
  text: JSON.stringify({ type: "about:blank", title: "t", status, detail: "d", hint: "h", retryable: false, ...more }),
});
const health = (problems: unknown, more: object = {}): Answer => ({
  ...{ status: 200, headers: JSON_TYPE, text: JSON.stringify({ status: "ok", problems, checkedAt: 1, ...more }) },
});
const logs = (events: readonly (readonly [name: string, data: unknown])[], ended = true): Answer => ({
  ...{ status: 200, headers: new Map([["content-type", "text/event-stream"]]), text: "" },
  stream: {
    ended,
    events: events.map(([name, data], n) => ({ name, id: name === "message" ? `1.${n}` : undefined, data: JSON.stringify(data) })),
  },
});

describe("the judge", () => {
  test.each<[string, Shot, Answer, RegExp]>([
    ["a status that nobody told of", HEALTH, problem(409, { code: "state_conflict" }), /not in the document/],
    ["a fault of ours", HEALTH, problem(500, { code: "internal" }), /a status of 500/],
    ["503 without a time to come again", HEALTH, problem(503, { code: "unavailable" }), /a status of 503/],
    ["a code with another's status", HEALTH, problem(400, { code: "not_found" }), /not_found with the status 400/],
    ["more than was promised", HEALTH, health([], { secret: 1 }), /does not fit/],
    ["a line of a stack", HEALTH, health(["Error\n    at x (y.ts:1)"]), /inside/],
    ["a folder", HEALTH, health(["in /home/of/coordinator/data"]), /names a folder/],
    [
      "a piece of no known shape",
      LOGS,
      logs([
        ["message", { ...CHUNK, n: -1 }],
        ["end", {}],
      ]),
      /none of the document's/,
    ],
    [
      "a piece with more",
      LOGS,
      logs([
        ["message", { ...CHUNK, more: 1 }],
        ["end", {}],
      ]),
      /none of the document's/,
    ],
    ["an end without a word", LOGS, logs([["message", CHUNK]]), /without a word/],
    [
      "words after the end",
      LOGS,
      logs([
        ["end", {}],
        ["message", CHUNK],
        ["end", {}],
      ]),
      /after the last/,
    ],
    [
      "a stack in a piece",
      LOGS,
      logs([
        ["message", { ...CHUNK, text: "file:///x" }],
        ["end", {}],
      ]),
      /inside/,
    ],
    ["a fault in a stream", LOGS, logs([["error", JSON.parse(problem(500, { code: "internal" }).text)]]), /an error that says/],
    ["a stream where there is none", HEALTH, logs([["end", {}]]), /where there is none/],
  ])("finds %s", (_what, shot, answer, fault) => {
    expect(faultsOf(ground, shot, answer)).toContainEqual(expect.stringMatching(fault));
  });

  test.each<[string, Shot, Answer]>([
    ["an answer", HEALTH, health([])],
    ["a refusal", HEALTH, problem(400, { code: "bad_request" })],
    [
      "output to its end",
      LOGS,
      logs([
        ["message", CHUNK],
        ["end", {}],
      ]),
    ],
    ["output that was left", LOGS, logs([["message", CHUNK]], false)],
  ])("lets %s pass", (_what, shot, answer) => {
    expect(faultsOf(ground, shot, answer)).toEqual([]);
  });
});

describe("requests", () => {
  test.each(ground.operations.map((one) => [one.name, one] as const))(
    "%s: a seed gives the same ones; proved where that is asked",
    (name, one) => {
      const sample = (): Shot[] => fc.sample(requestsFor(one, document.components.schemas), { seed: 1, numRuns: 30 });
      const first = sample();
      expect(sample()).toEqual(first);
      const { scope } = OPERATIONS[name as keyof typeof OPERATIONS];
      expect(first.filter(({ unsigned }) => unsigned !== undefined).length > 10).toBe(scope === "proof");
    },
  );
});

test("an answer is read in whatever pieces it comes", () => {
  const answer = Buffer.from(
    "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n6\r\n world\r\n0\r\n\r\n",
  );
  fc.assert(
    fc.property(fc.array(fc.integer({ min: 1, max: answer.length })), (cuts) => {
      const reading = new AnswerReading();
      const edges = [0, ...new Set(cuts), answer.length].toSorted((a, b) => a - b);
      const body = edges.slice(1).map((edge, n) => reading.push(answer.subarray(edges[n], edge)));
      expect([Buffer.concat(body).toString(), reading.head?.status, reading.whole]).toEqual(["hello world", 200, true]);
    }),
  );
});

describe("budgets", () => {
  test("by count, whatever the time; by time, whatever the count", () => {
    expect([0, 1, 2].map((done) => byCount(7, 2).goesOn(done))).toEqual([true, true, false]);
    let now = 0;
    const budget = byTime(7, 10, () => now);
    expect(budget.goesOn(1_000_000)).toBe(true);
    now = 10;
    expect(budget.goesOn(0)).toBe(false);
  });

  test("a log may grow by the minute and by what was allowed, lines and memory not by themselves", () => {
    const { log, counted } = countingLog();
    for (let n = 0; n < 60; n += 1) log.info("one of many");
    const left = { logged: counted, parties: 1, passedMs: 0, grownMiB: 0 };
    expect(tooMuch(left)).toEqual([]);
    log.info("one too many");
    expect(tooMuch(left)).toEqual([expect.stringContaining("61 lines")]);
    expect(tooMuch({ ...left, passedMs: 60_000 })).toEqual([]);
    expect(tooMuch({ ...left, acts: 1 })).toEqual([]);
    log.info("x".repeat(5_000));
    expect(tooMuch({ ...left, acts: 9, grownMiB: 33 })).toEqual([
      expect.stringContaining("a line of 5"),
      expect.stringContaining("33.0 MiB"),
    ]);
  });
});
