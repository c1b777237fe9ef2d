import { expect, test } from "vitest";
import { EVENT_CHARS_MAX, SseReader } from "./sse.ts";

const TEXT = ': hello\n\nid: 1\ndata: {"a":1}\n\nid: 2\n\nevent: end\ndata: {}\n\n';
const EVENTS = [
  { id: "1", name: "message", data: '{"a":1}' },
  { id: "2", name: "message", data: "" },
  { id: undefined, name: "end", data: "{}" },
];

test("however the text is cut, the events are the same", () => {
  expect(new SseReader().push(TEXT)).toEqual(EVENTS);
  for (let cut = 0; cut <= TEXT.length; cut++) {
    const reader = new SseReader();
    expect([...reader.push(TEXT.slice(0, cut)), ...reader.push(TEXT.slice(cut))]).toEqual(EVENTS);
  }
  const reader = new SseReader();
  expect(Array.from(TEXT).flatMap((char) => reader.push(char))).toEqual(EVENTS);
});

test("an event that is not complete is kept back", () => {
  const reader = new SseReader();
  expect(reader.push("data: 1\n")).toEqual([]);
  expect(reader.push("\n")).toEqual([{ id: undefined, name: "message", data: "1" }]);
  expect(reader.push("")).toEqual([]);
});

test("an event without end is refused", () => {
  const reader = new SseReader();
  expect(() => reader.push(`data: ${"x".repeat(EVENT_CHARS_MAX)}`)).toThrow("longer than");
});
