/** The scripted model, asked as OpenClaw asks a model. */
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import { startModelServer, type ModelServer } from "../support/model-server.ts";

let folder: string;
let server: ModelServer;
beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), "ocx-model-"));
  server = await startModelServer({ logFile: join(folder, "requests.jsonl") });
});
afterAll(async () => {
  await server.close();
  rmSync(folder, { recursive: true, force: true });
});

/** The person's words in OpenClaw's wrapping. */
function wrapped(text: string): object[] {
  return [
    { role: "system", content: "You are an assistant." },
    { role: "user", content: [{ type: "text", text: `[Sun 2026-11-22 08:16 UTC] ${text}\n\nRuntime: agent=main | session=s` }] },
    { role: "user", content: "<<<BEGIN_OPENCLAW_INTERNAL_CONTEXT>>> nothing to see" },
  ];
}

function ask(messages: object[], options: { stream?: boolean; signal?: AbortSignal; key?: string } = {}): Promise<Response> {
  const { stream = true, key = "alpha" } = options;
  return fetch(`${server.url}/chat/completions`, {
    method: "POST",
    headers: { "content-type": "application/json", ...(key !== "" && { authorization: `Bearer ${key}` }) },
    body: JSON.stringify({ model: "scripted-1", stream, messages }),
    ...(options.signal && { signal: options.signal }),
  });
}

interface Chunk {
  choices: {
    delta: { content?: string; tool_calls?: { function: { name: string; arguments: string } }[] };
    finish_reason: string | null;
  }[];
  usage?: { completion_tokens: number };
}
async function chunks(response: Response): Promise<Chunk[]> {
  const lines = (await response.text()).split("\n").filter((line) => line.startsWith("data: "));
  expect(lines.pop()).toBe("data: [DONE]");
  return lines.map((line) => JSON.parse(line.slice(6)) as Chunk);
}
const textOf = (all: Chunk[]): string => all.map((chunk) => chunk.choices[0]?.delta.content ?? "").join("");

test("echoes the person's words, streamed, with the usage last", async () => {
  const all = await chunks(await ask(wrapped("good morning")));
  expect(textOf(all)).toBe("echo: good morning");
  expect(all.at(-2)?.choices[0]?.finish_reason).toBe("stop");
  expect(all.at(-1)?.usage?.completion_tokens).toBe(3);
  const whole = (await (await ask(wrapped("good evening"), { stream: false })).json()) as { choices: { message: { content: string } }[] };
  expect(whole.choices[0]?.message.content).toBe("echo: good evening");
});

test("calls a tool once, then tells what it gave", async () => {
  const asked = wrapped('look it up\nuse tool search {"q":"x"}');
  const first = await chunks(await ask(asked));
  expect(first.flatMap((chunk) => chunk.choices[0]?.delta.tool_calls ?? [])).toMatchObject([
    { function: { name: "search", arguments: '{"q":"x"}' } },
  ]);
  expect(first.at(-2)?.choices[0]?.finish_reason).toBe("tool_calls");
  const answered = [...asked, { role: "assistant", content: null }, { role: "tool", content: "42" }];
  expect(textOf(await chunks(await ask(answered)))).toBe("the tool gave 42");
});

test("fails when told to, and without a key", async () => {
  expect((await ask(wrapped("fail"))).status).toBe(500);
  expect((await ask(wrapped("fail 400"))).headers.get("retry-after")).toBeNull();
  const throttled = await ask(wrapped("fail 429 7"));
  expect([throttled.status, throttled.headers.get("retry-after")]).toEqual([429, "7"]);
  expect((await ask(wrapped("hello"), { key: "" })).status).toBe(401);
});

test("sees that a client goes away, and keeps it in memory and in the log", async () => {
  const controller = new AbortController();
  const response = await ask(wrapped("slow 1000"), { signal: controller.signal, key: "beta" });
  const reader = response.body!.getReader();
  await reader.read();
  controller.abort();
  await expect(reader.read()).rejects.toThrow();
  const request = server.requests.find(({ text }) => text === "slow 1000");
  await expect.poll(() => request?.closedAt, { timeout: 10_000 }).toBeDefined();
  expect(request).toMatchObject({ gateway: "beta", model: "scripted-1", aborted: true });
  await expect.poll(() => readFileSync(join(folder, "requests.jsonl"), "utf8"), { timeout: 10_000 }).toContain('"slow 1000"');
});
