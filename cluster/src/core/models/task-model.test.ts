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
