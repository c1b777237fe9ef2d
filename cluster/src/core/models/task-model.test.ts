import { ModelInput } from "@openclaw-cluster/contract/model-input";
import { expect, test } from "vitest";
import { requestOf, wishOf } from "./task-model.ts";

const SCHEMA = { type: "object", properties: { text: { type: "string" } }, required: ["text"] };

test("a prompt, a conversation and texts to embed are requests in OpenAI's words", () => {
  expect(requestOf({ prompt: "hello" })).toEqual({ model: "auto", messages: [{ role: "user", content: "hello" }] });
  expect(requestOf({ model: "qwen3:8b", system: "be short", prompt: "hello", maxTokens: 5, temperature: 0, seed: 1, stop: "." })).toEqual({
    model: "qwen3:8b",
    messages: [
      { role: "system", content: "be short" },
      { role: "user", content: "hello" },
    ],
    ...{ max_tokens: 5, temperature: 0, seed: 1, stop: "." },
  });
  expect(requestOf({ messages: [{ role: "user", content: "a" }], schema: SCHEMA })).toEqual({
    model: "auto",
    messages: [{ role: "user", content: "a" }],
    response_format: { type: "json_schema", json_schema: { name: "answer", schema: SCHEMA, strict: true } },
  });
  expect(requestOf({ embed: ["a", "b"] })).toEqual({ model: "auto:embed", input: ["a", "b"] });
});

test("what it wants of a model", () => {
  expect(wishOf({ prompt: "hello" })).toEqual({
    name: "auto",
    needs: { path: "chat", json: false, tools: false, vision: false, contextTokens: 2_048 },
  });
  expect(wishOf({ prompt: "hello", schema: SCHEMA }).needs.json).toBe(true);
  expect(wishOf({ embed: "hello" })).toMatchObject({ name: "auto:embed", needs: { path: "embeddings", json: false } });
});

test("contexts are told in classes, of which a common context is never the wrong side (K1)", () => {
  const classes = new Set<number>();
  for (let chars = 1; chars < 200_000; chars += 997) {
    const { contextTokens } = wishOf({ prompt: "a".repeat(chars) }).needs;
    // Four characters to a token, and room for an answer.
    const estimate = chars / 4 + 1_024;
    expect(contextTokens).toBeGreaterThanOrEqual(estimate);
    expect(contextTokens).toBeLessThan(Math.max(estimate, 2_048) * 1.3);
    for (const context of [4_096, 8_192, 32_768, 40_960]) expect(contextTokens <= context).toBe(Math.ceil(estimate + 13) <= context);
    classes.add(contextTokens);
  }
  expect(classes.size).toBeLessThan(24);
});

test.each<[string, object, string]>([
  ["nothing asked", {}, ""],
  ["two ways of asking", { prompt: "a", embed: "b" }, ""],
  ["a system's words in a conversation", { system: "a", messages: [{ role: "user", content: "b" }] }, "system"],
  ["a schema for vectors", { embed: "a", schema: SCHEMA }, "schema"],
  ["an address for a model", { prompt: "a", model: "http://10.0.0.1/v1" }, "model"],
  ["a misspelt field", { prompt: "a", max_tokens: 1 }, ""],
  ["a role that nobody has", { messages: [{ role: "tool", content: "b" }] }, "messages.0.role"],
  ["more texts than one request takes", { embed: Array.from({ length: 2_049 }, () => "a") }, "embed"],
  ["a type that JSON does not have", { prompt: "a", schema: { properties: { n: { type: "float" } } } }, "schema.properties.n.type"],
  ["a pattern that is none", { prompt: "a", schema: { items: { pattern: "(" } } }, "schema.items.pattern"],
  ["a schema that lies elsewhere", { prompt: "a", schema: { $ref: "https://example.org/x.json" } }, "schema.$ref"],
  ["properties that are a list", { prompt: "a", schema: { anyOf: [{}, { properties: [] }] } }, "schema.anyOf.1.properties"],
])("refused at the submit: %s", (_what, input, path) => {
  const read = ModelInput.safeParse(input);
  expect(read.error?.issues.map((issue) => issue.path.join("."))).toEqual([path]);
});

test("a property may have any keyword's name, and an unknown keyword any value", () => {
  const schema = { properties: { type: { type: "string" }, pattern: true, required: { enum: [1] } }, example: [1], "x-note": {} };
  expect(ModelInput.safeParse({ prompt: "a", schema }).success).toBe(true);
});
