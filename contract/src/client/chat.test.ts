import { createServer, type IncomingMessage, type Server, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { ClusterError, toProblem } from "../errors.ts";
import type { ChatPiece } from "./chat.ts";
import { openClient, type Client } from "./client.ts";
import { fetchTransport } from "./fetch-transport.ts";
import { nodeTransport } from "./node-transport.ts";

type Answer = (response: ServerResponse) => void;

const QUESTION = { model: "qwen3:8b@studio", messages: [{ role: "user", content: "hello" }], max_tokens: 8 } as const;
const WORD = { choices: [{ delta: { content: "héllo" }, finish_reason: null }] };
const USAGE = { choices: [], usage: { prompt_tokens: 12, completion_tokens: 3 } };

let server: Server;
let client: Client;
let answer: Answer;
let asked: { readonly request: IncomingMessage; readonly body: unknown }[];
beforeEach(async () => {
  asked = [];
  server = await listen((response) => answer(response));
});
afterEach(async () => {
  await client.close();
  for (const one of open.splice(0)) {
    one.closeAllConnections();
    await new Promise((resolve) => one.close(resolve));
  }
});

const open: Server[] = [];
async function listen(answerOf: Answer): Promise<Server> {
  const one = createServer((request, response) => {
    if (request.url === "/healthz") return void response.end("{}");
    let text = "";
    request.on("data", (piece: Buffer) => (text += piece.toString()));
    request.on("end", () => {
      asked.push({ request, body: JSON.parse(text) });
      answerOf(response);
    });
  });
  open.push(one);
  await new Promise<void>((resolve) => one.listen(0, "127.0.0.1", resolve));
  return one;
}
const urlOf = (one: Server): string => `http://127.0.0.1:${(one.address() as AddressInfo).port}`;

const stream =
  (text: string, ends = true): Answer =>
  (response) => {
    response.writeHead(200, { "content-type": "text/event-stream" }).write(text);
    if (ends) response.end();
  };
const refuse =
  (status: number, body: unknown, headers = {}): Answer =>
  (response) =>
    void response.writeHead(status, headers).end(typeof body === "string" ? body : JSON.stringify(body));
const data = (json: unknown): string => `data: ${JSON.stringify(json)}\n\n`;

async function heard(signal?: AbortSignal): Promise<ChatPiece[]> {
  const pieces: ChatPiece[] = [];
  for await (const piece of client.chat(QUESTION, signal && { signal })) pieces.push(piece);
  return pieces;
}

const faultOf = async (given: Answer): Promise<ClusterError> => {
  answer = given;
  return heard().then(
    () => Promise.reject(new Error("it was answered")),
    (error: unknown) => error as ClusterError,
  );
};

describe.each([
  ["node:http", nodeTransport],
  ["fetch", fetchTransport],
])("a chat over %s", (_name, transport) => {
  beforeEach(() => {
    client = openClient({ url: urlOf(server), token: "occ_1", transport: transport() });
  });

  test("is asked with the token, as a stream with its usage, and gives each piece", async () => {
    answer = stream(`: a comment\n\n${data(WORD)}${data(USAGE)}data: [DONE]\n\n`);
    expect(await heard()).toEqual([WORD, USAGE]);
    expect(asked[0]?.request).toMatchObject({ method: "POST", url: "/v1/chat/completions", headers: { authorization: "Bearer occ_1" } });
    expect(asked[0]?.body).toEqual({ ...QUESTION, stream: true, stream_options: { include_usage: true } });
  });

  test("is read with any line ends, without a blank, and without the last line's end", async () => {
    answer = stream(`data:${JSON.stringify(WORD)}\r\n\r\ndata: ${JSON.stringify(USAGE)}\n\ndata:[DONE]`);
    expect(await heard()).toEqual([WORD, USAGE]);
  });

  test("what is not understood of a piece is as if it had not been said", async () => {
    answer = stream(`${data({ choices: "none", usage: { prompt_tokens: "many" } })}${data({ choices: null })}data: [DONE]\n\n`);
    expect(await heard()).toEqual([{}, { choices: null }]);
  });

  test.each([
    [404, "model_not_found", "not_found"],
    [403, "policy_denied", "policy_denied"],
    [404, "model_not_there", "not_found"],
    [429, "overloaded", "overloaded"],
    [502, "node_lost", "node_lost"],
    [400, "context_length_exceeded", "bad_request"],
    [500, null, "unavailable"],
  ])("refused with %d %s: %s, and is asked once (C1)", async (status, code, known) => {
    const error = await faultOf(refuse(status, { error: { message: "as told", type: "x", param: null, code } }, { "retry-after": "1" }));
    expect(error).toMatchObject({ name: "ClusterError", code: known, detail: "as told", retryAfterMs: 1_000 });
    expect(asked).toHaveLength(1);
  });

  test("refused in other words is told by its status", async () => {
    expect(await faultOf(refuse(404, "<!doctype html>"))).toMatchObject({ code: "not_found" });
  });

  test("that is lost on its way says so, and so does one that was cut (C2)", async () => {
    const lost = { error: { message: "studio is gone", type: "server_error", param: null, code: "node_lost" } };
    expect(await faultOf(stream(data(WORD) + data(lost)))).toMatchObject({ code: "node_lost", detail: "studio is gone" });
    expect(await faultOf(stream(data(WORD)))).toMatchObject({ code: "coordinator_unreachable" });
    expect(await faultOf((response) => response.destroy())).toMatchObject({ code: "coordinator_unreachable" });
    expect(await faultOf(stream(`${data(WORD)}data: [1,\n\n`))).toMatchObject({ code: "internal" });
    expect(asked).toHaveLength(4);
  });

  test("whoever goes away ends it at the server, by a signal or by reading no further", async () => {
    const leaving = new AbortController();
    let closed = 0;
    answer = (response) => {
      response.on("close", () => (closed += 1));
      stream(data(WORD), false)(response);
    };
    for await (const piece of client.chat(QUESTION)) {
      expect(piece).toEqual(WORD);
      break;
    }
    await expect.poll(() => closed).toBe(1);
    const cut = (async () => {
      for await (const _piece of client.chat(QUESTION, { signal: leaving.signal })) leaving.abort();
    })();
    await expect(cut).rejects.toMatchObject({ name: "AbortError" });
    await expect.poll(() => closed).toBe(2);
  });
});

test("of several control nodes another one is asked where the first cannot serve, and none where a model's node could not (C1)", async () => {
  const other = await listen(stream(`${data(WORD)}data: [DONE]\n\n`));
  client = openClient({ urls: [urlOf(server), urlOf(other)], token: "occ_1", transport: nodeTransport() });
  const lost = { error: { message: "no node could answer", type: "server_error", param: null, code: "node_lost" } };
  expect(await faultOf(refuse(502, lost))).toMatchObject({ code: "node_lost", detail: "no node could answer" });
  expect(asked).toHaveLength(1);
  answer = refuse(503, toProblem(new ClusterError("unavailable", "nobody leads here")));
  expect(await heard()).toEqual([WORD]);
  expect(asked).toHaveLength(3);
});
