import { expect, test } from "vitest";
import { ModelInput } from "./model-input.ts";

const SCHEMA = { type: "object", properties: { text: { type: "string" } }, required: ["text"] };

test.each<object>([
  { prompt: "a", system: "b", model: "qwen3:8b@studio", schema: SCHEMA, maxTokens: 1, temperature: 0, seed: 0, stop: ["x"] },
  {
    messages: [
      { role: "system", content: "a" },
      { role: "user", content: "" },
    ],
  },
  { embed: ["a", "b"], model: "auto:embed" },
])("takes %j", (input) => {
  expect(ModelInput.parse(input)).toEqual(input);
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
