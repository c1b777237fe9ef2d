import { expect, test } from "vitest";
import { promptParts } from "./prompt-parts.ts";
import { objection } from "./request-form.ts";

const judge = (body: Record<string, unknown>): string | undefined =>
  objection(body, promptParts("input" in body ? "responses" : "chat", body));
const shown = (part: object): Record<string, unknown> => ({
  messages: [{ role: "user", content: [{ type: "text", text: "what is it?" }, part] }],
});
const PNG = "data:image/png;base64,iVBORw0KGgo=";

test.each(["base_url", "api_base", "api_key", "endpoint", "url"])("a request does not say where its model is: %s", (field) => {
  expect(judge({ model: "m", messages: [], [field]: "http://10.0.0.1/v1" })).toContain(field);
});

test.each([
  ["a picture", shown({ type: "image_url", image_url: { url: "http://192.168.1.1/admin" } })],
  ["in short", shown({ type: "image_url", image_url: "HTTPS://router.local/x.png" })],
  ["a file of the machine's", shown({ type: "image_url", image_url: { url: "file:///etc/passwd" } })],
  ["behind blanks", shown({ type: "image_url", image_url: { url: " \n http://10.0.0.1/" } })],
  ["a video", shown({ type: "video_url", video_url: { url: "http://10.0.0.1/v.mp4" } })],
  ["of a response", { input: [{ role: "user", content: [{ type: "input_image", image_url: "http://10.0.0.1/x" }] }] }],
  ["of a response, beside its messages", { input: [{ type: "input_image", image_url: "http://10.0.0.1/x" }] }],
  ["a file of a response", { input: [{ role: "user", content: [{ type: "input_file", file_url: "http://10.0.0.1/x" }] }] }],
])("nothing is fetched for it: %s", (_what, body) => {
  expect(judge(body)).toContain("data:");
});

test.each([
  ["a picture that it brings along", shown({ type: "image_url", image_url: { url: PNG, detail: "low" } })],
  ["words about an address", { messages: [{ role: "user", content: "read http://example.com/ for me" }] }],
  ["words in parts", shown({ type: "text", text: "http://example.com/" })],
  [
    "a tool with an address among its arguments",
    { messages: [], tools: [{ type: "function", function: { name: "get", parameters: { properties: { url: { type: "string" } } } } }] },
  ],
  [
    "a call of it",
    { messages: [{ role: "assistant", tool_calls: [{ type: "function", function: { name: "get", arguments: '{"url":"http://x"}' } }] }] },
  ],
  ["what is no list", { messages: "http://x", input: 7 }],
  ["a part that is none", shown({ type: "image_url", image_url: 7 })],
])("nothing is wrong with %s", (_what, body) => {
  expect(judge(body)).toBeUndefined();
});

test("a prompt of too many pieces is not judged", () => {
  expect(judge({ messages: Array.from({ length: 131_073 }, () => ({})) })).toContain("131072");
});
