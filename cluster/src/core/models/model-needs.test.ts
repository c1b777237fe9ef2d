import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { lent } from "./fixtures.ts";
import { misfit, needsOf, OUTPUT_TOKENS_DEFAULT, type ModelNeeds } from "./model-needs.ts";
import { promptParts, type PromptKind } from "./prompt-parts.ts";
import { textTokens } from "./token-estimate.ts";

const read = (path: PromptKind, body: unknown): ModelNeeds => needsOf(path, body, promptParts(path, body));
const user = (content: unknown) => ({ messages: [{ role: "user", content }] });
const tool = { type: "function", function: { name: "f", parameters: { type: "object", properties: { a: { type: "string" } } } } };

describe("tokens", () => {
  it("are estimated by what the characters are", () => {
    expect(textTokens("a".repeat(400))).toBe(100);
    expect(textTokens("中".repeat(150))).toBe(100);
    expect(textTokens("я".repeat(200))).toBe(100);
  });

  it("never become fewer with more text (T1)", () => {
    fc.assert(fc.property(fc.string({ unit: "grapheme" }), fc.string({ unit: "grapheme" }), (a, b) => textTokens(a + b) >= textTokens(a)));
  });

  it("count messages, tools and instructions on both paths", () => {
    const bare = read("chat", user("x".repeat(4_000))).promptTokens;
    expect(bare).toBeGreaterThan(1_000);
    expect(bare).toBeLessThan(1_050);
    expect(read("chat", { ...user("x".repeat(4_000)), tools: [tool] }).promptTokens).toBeGreaterThan(bare + 24);
    const said = {
      instructions: "y".repeat(400),
      input: [{ type: "message", role: "user", content: [{ type: "input_text", text: "x".repeat(4_000) }] }],
    };
    expect(read("responses", said).promptTokens).toBeGreaterThan(bare + 99);
    expect(read("responses", { input: "x".repeat(4_000) }).promptTokens).toBe(bare);
  });

  it("of embeddings: all are read, the largest must fit", () => {
    const needs = read("embeddings", { input: ["x".repeat(4_000), "x".repeat(400)] });
    expect(needs.promptTokens).toBe(1_116);
    expect(needs.contextTokens).toBe(1_008);
    expect(read("embeddings", { input: [[1, 2, 3], [4]] }).contextTokens).toBe(11);
    expect(read("embeddings", { input: [1, 2, 3] }).promptTokens).toBe(11);
  });
});

describe("needs", () => {
  it("of output come from the first limit that is one", () => {
    expect(read("chat", { max_completion_tokens: 7, max_tokens: 8 }).outputTokens).toBe(7);
    expect(read("chat", { max_completion_tokens: null, max_tokens: 8 }).outputTokens).toBe(8);
    expect(read("responses", { max_output_tokens: 9 }).outputTokens).toBe(9);
    expect(read("chat", { max_tokens: "many" }).outputTokens).toBe(OUTPUT_TOKENS_DEFAULT);
  });

  it("of abilities are read from where each path has them", () => {
    expect(read("chat", { ...user("x"), tools: [tool] }).tools).toBe(true);
    expect(read("chat", { ...user("x"), tools: [tool], tool_choice: "none" }).tools).toBe(false);
    expect(read("chat", { messages: [{ role: "tool", content: "x" }] }).tools).toBe(true);
    expect(read("chat", { response_format: { type: "json_schema" } }).json).toBe(true);
    expect(read("responses", { text: { format: { type: "json_schema" } } }).json).toBe(true);
    expect(read("chat", { response_format: { type: "text" } }).json).toBe(false);
  });

  it("see a picture, and do not count its data as text", () => {
    const needs = read("chat", user([{ type: "image_url", image_url: { url: `data:image/png;base64,${"A".repeat(1e6)}` } }]));
    expect(needs.vision).toBe(true);
    expect(needs.promptTokens).toBeLessThan(1_100);
    expect(read("responses", { input: [{ role: "user", content: [{ type: "input_image", image_url: "x" }] }] }).vision).toBe(true);
  });

  it("are read from any JSON without a throw (R1), and however deep (R2)", () => {
    const anyBody = fc.record({
      messages: fc.jsonValue(),
      tools: fc.jsonValue(),
      input: fc.jsonValue(),
      text: fc.jsonValue(),
      max_tokens: fc.jsonValue(),
    });
    fc.assert(
      fc.property(fc.constantFrom("chat", "responses", "embeddings"), fc.oneof(anyBody, fc.jsonValue()), (path, body) => {
        const { promptTokens, contextTokens } = read(path, body);
        expect(promptTokens).toBeGreaterThanOrEqual(0);
        expect(Number.isFinite(contextTokens)).toBe(true);
      }),
    );
    const deep: unknown = JSON.parse(`${"[".repeat(1e5)}"x"${"]".repeat(1e5)}`);
    expect(read("chat", user(deep)).promptTokens).toBeGreaterThan(0);
  });
});

describe("a model", () => {
  const needs = read("chat", user("x".repeat(16_000)));

  it("that is too small is told with figures, and one that does not tell passes (E2)", () => {
    expect(misfit(lent("a", "m", { contextTokens: 4_096 }), needs)).toMatchObject({
      code: "context_too_small",
      detail: `has a context of 4096 tokens, and the request takes about ${needs.contextTokens}`,
    });
    expect(
      misfit(lent("a", "m", { contextTokens: 8_192 }), read("chat", { ...user("x".repeat(16_000)), max_tokens: 8_192 })),
    ).toBeUndefined(); // E3
    expect(misfit(lent("a", "m"), needs)).toBeUndefined();
  });

  it("lacks what it lacks", () => {
    const can = { chat: false, tools: false, vision: false, json: false, embeddings: false };
    const code = (more: Partial<ModelNeeds>, has: Partial<typeof can>) =>
      misfit(lent("a", "m", { can: { ...can, ...has } }), { ...needs, ...more })?.code;
    expect(code({}, {})).toBe("no_chat");
    expect(code({ path: "embeddings" }, {})).toBe("no_embeddings");
    expect(code({ tools: true }, { chat: true })).toBe("no_tools");
    expect(code({ vision: true }, { chat: true })).toBe("no_vision");
    expect(code({ json: true }, { chat: true })).toBe("no_json");
  });
});
