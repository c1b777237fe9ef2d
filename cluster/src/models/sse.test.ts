import { describe, expect, it } from "vitest";
import { PassingEvents, PassingJson } from "./servers/passing.ts";
import { SseReader } from "./sse.ts";

const STREAM = Buffer.from(
  ': ping\n\ndata: {"a":"é"}\r\n\r\nevent: x\nid: 1\ndata: {"b":\ndata: 1}\n\ndata: {"choices":[],"usage":{}}\n\ndata: [DONE]\n\n',
);

function pieces(size: number): Buffer[] {
  return Array.from({ length: Math.ceil(STREAM.length / size) }, (_, at) => STREAM.subarray(at * size, (at + 1) * size));
}

describe("events", () => {
  it.each([1, 2, 3, 7, 64, 4_096])("E1: are the same in pieces of %i bytes", (size) => {
    const reader = new SseReader();
    const events = pieces(size).flatMap((piece) => reader.take(piece));
    expect(events.map(({ data }) => data)).toEqual([undefined, '{"a":"é"}', '{"b":\n1}', '{"choices":[],"usage":{}}', "[DONE]"]);
    expect(Buffer.concat(events.map(({ raw }) => raw))).toEqual(STREAM);
    expect(reader.end()).toEqual([]);
  });

  it.each([1, 5, 4_096])("T1: the count of tokens is dropped, and nothing else (%i)", (size) => {
    const passing = new PassingEvents({ isChat: true, dropUsage: true });
    const passed = Buffer.concat([...pieces(size).map((piece) => passing.take(piece)), passing.end()]).toString();
    expect(passed).toBe(STREAM.toString().replace('data: {"choices":[],"usage":{}}\n\n', ""));
    expect(passing.isOver).toBe(true);
  });

  it("the last may miss its blank line", () => {
    const reader = new SseReader();
    expect(reader.take(Buffer.from("data: 1\n\ndata: 2"))).toHaveLength(1);
    expect(reader.end().map(({ data }) => data)).toEqual(["2"]);
  });

  it.each(["<!doctype html>", "{}\n", "dataless", "x\n\n"])("E2: %j is none", (words) => {
    expect(() => new SseReader().take(Buffer.from(words))).toThrow(expect.objectContaining({ kind: "garbage" }));
  });

  it("E2: what is no UTF-8 is garbage, and a character that the network has cut is not", () => {
    expect(() => new SseReader().take(Buffer.from("data: \xff\n", "latin1"))).toThrow(expect.objectContaining({ kind: "garbage" }));
    const reader = new SseReader();
    const events = [...Buffer.from("data: 家\n\n")].flatMap((byte) => reader.take(Buffer.from([byte])));
    expect(events.map(({ data }) => data)).toEqual(["家"]);
    const json = new PassingJson();
    const bytes = Buffer.from('{"a":"家"}');
    expect(Buffer.concat([...[...bytes].map((byte) => json.take(Buffer.from([byte]))), json.end()])).toEqual(bytes);
    expect(() => new PassingJson().take(Buffer.from('{"a":"\xff"}', "latin1"))).toThrow(expect.objectContaining({ kind: "garbage" }));
    const cut = new PassingJson();
    cut.take(Buffer.from('{"a":1}').subarray(0, 7));
    cut.take(Buffer.from("家").subarray(0, 1));
    expect(() => cut.end()).toThrow(expect.objectContaining({ kind: "garbage" }));
  });

  it.each([
    ["an event of small lines", ":\n", 1_025],
    ["a stream of nothing", "\n", 1_048_577],
    ["a stream of small events", "data:{}\n\n", 524_289],
  ])("E2: %s ends at a number of lines", (_what, piece, times) => {
    const reader = new SseReader();
    reader.take(Buffer.from(piece.repeat(times - 1)));
    expect(() => reader.take(Buffer.from(piece))).toThrow(expect.objectContaining({ kind: "too_large" }));
  });

  it("E2: neither a line nor an event goes on for ever", () => {
    for (const piece of ["x".repeat(65_536), "data: x\n".repeat(8_192)]) {
      const reader = new SseReader();
      reader.take(Buffer.from("data: "));
      expect(() => Array.from({ length: 20 }, () => reader.take(Buffer.from(piece)))).toThrow(
        expect.objectContaining({ kind: "too_large" }),
      );
    }
  });
});
