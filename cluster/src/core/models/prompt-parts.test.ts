import { describe, expect, it } from "vitest";
import { PROMPT_PARTS_MAX, promptParts, type PromptKind } from "./prompt-parts.ts";

const MANY = 2 * PROMPT_PARTS_MAX;
const message = (content: unknown): object => ({ role: "user", content });

describe("the parts of a prompt", () => {
  it.each([
    ["messages", "chat", { messages: Array.from({ length: MANY }, () => message("x")) }],
    ["messages without anything", "chat", { messages: Array.from({ length: MANY }, () => 0) }],
    ["one message of many pieces", "chat", { messages: [message([Array(MANY).fill("x"), Array(MANY).fill("x")])] }],
    [
      "a first message of many pieces, and then tools",
      "chat",
      { messages: [{ role: "system", content: Array(MANY).fill(1) }], tools: [1, 2] },
    ],
    ["tools", "chat", { messages: [], tools: Array.from({ length: MANY }, () => ({ name: "t" })) }],
    ["an input of many items", "responses", { input: Array.from({ length: MANY }, () => message("x")) }],
    ["texts to embed", "embeddings", { input: Array.from({ length: MANY }, () => "x") }],
    ["lists of tokens", "embeddings", { input: Array.from({ length: MANY }, () => [1, 2]) }],
  ] satisfies [string, PromptKind, object][])("R4: are not more than can be told to be too many: %s", (_what, path, body) => {
    const { length } = promptParts(path, body);
    expect(length).toBeGreaterThan(PROMPT_PARTS_MAX);
    expect(length).toBeLessThanOrEqual(PROMPT_PARTS_MAX + 2);
  });

  it("R4: are all there just below the limit, and those of a body beyond it begin like them", () => {
    // A message and its text are two.
    const messages = Array.from({ length: PROMPT_PARTS_MAX / 2 }, (_, at) => message(`m${at}`));
    const whole = promptParts("chat", { messages });
    expect(whole).toHaveLength(PROMPT_PARTS_MAX);
    expect(whole.at(-1)).toEqual({ kind: "text", text: `m${PROMPT_PARTS_MAX / 2 - 1}` });
    const more = promptParts("chat", { messages: [...messages, message("one more")] });
    expect(more.slice(0, PROMPT_PARTS_MAX)).toEqual(whole);
    expect(more.length).toBeGreaterThan(PROMPT_PARTS_MAX);
  });

  it("a long list of tokens is one", () => {
    expect(promptParts("embeddings", { input: Array.from({ length: MANY }, () => 7) })).toEqual([{ kind: "input", tokens: MANY }]);
  });
});
