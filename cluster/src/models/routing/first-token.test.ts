import { PassThrough, Readable } from "node:stream";
import { text } from "node:stream/consumers";
import fc from "fast-check";
import { describe, expect, test, vi } from "vitest";
import { passOn, untilFirstToken, type Passing } from "./first-token.ts";
import { ModelFault } from "../models.ts";

const SOON = { timeout: 5_000, interval: 1 };
const event = (json: unknown): string => `data: ${typeof json === "string" ? json : JSON.stringify(json)}\n\n`;
const chunk = (delta: object, finish: string | null = null): string => event({ choices: [{ index: 0, delta, finish_reason: finish }] });
const ROLE = chunk({ role: "assistant", content: null });
const DONE = event("[DONE]");
const CHAT = ROLE + chunk({ content: "" }) + chunk({ content: "héllo 你好 🙂" }) + chunk({ content: " there" }) + chunk({}, "stop") + DONE;
const CUT = event({ error: { code: "node_lost" } });

/** The text in pieces that end at these places, also in the middle of a character. */
function cutAt(whole: string, places: readonly number[]): Buffer[] {
  const bytes = Buffer.from(whole);
  const ends = [...new Set([...places.map((place) => place % (bytes.length + 1)), bytes.length])].sort((a, b) => a - b);
  return ends.map((end, at) => bytes.subarray(ends[at - 1] ?? 0, end)).filter(({ length }) => length > 0);
}
const anyCuts = fc.array(fc.nat(2_000), { maxLength: 12 });
const streamOf = (...pieces: (string | Buffer)[]): Readable =>
  Readable.from(
    pieces.map((piece) => Buffer.from(piece)),
    { objectMode: false },
  );
/** As the network gives it: one piece in each turn. */
function slowly(pieces: readonly Buffer[], last: (body: PassThrough) => void = (body) => body.end()): PassThrough {
  const body = new PassThrough();
  const left = [...pieces];
  const next = (): void => {
    const piece = left.shift();
    if (piece === undefined) return last(body);
    body.write(piece);
    setImmediate(next);
  };
  setImmediate(next);
  return body;
}
const passed = (body: Readable): { out: Readable; told: { events: number; over: (ModelFault | "left" | undefined)[] } } => {
  const told = { events: 0, over: [] as (ModelFault | "left" | undefined)[] };
  const passing: Passing = { events: (count) => (told.events += count), over: (how) => void told.over.push(how) };
  return { out: passOn(body, () => CUT, passing), told };
};

describe("untilFirstToken", () => {
  const talk: readonly (readonly [string, string])[] = [
    ["a word", chunk({ content: "a" })],
    ["a thought", chunk({ reasoning_content: "hm" })],
    ["a call of a tool", chunk({ tool_calls: [{ index: 0, function: { name: "f" } }] })],
    ["an end without a word", chunk({}, "stop")],
    ["a second choice that speaks first", event({ choices: [{ delta: {} }, { delta: { content: "b" } }] })],
    ["a word of a response", event({ type: "response.output_text.delta", delta: "a" })],
    ["the mark of the end", DONE],
  ];
  test.each(talk)("%s is the first token, and nothing of what came before it is lost", async (_what, first) => {
    const body = slowly([Buffer.from(ROLE), Buffer.from(first)], () => undefined);
    expect(await untilFirstToken(body)).toBe(body);
    body.end("data: more\n\n");
    expect(await text(body)).toBe(`${ROLE}${first}data: more\n\n`);
  });

  test("what says nothing yet is held back (T1)", async () => {
    const begun = event({ type: "response.created", response: {} }) + event({ type: "response.output_item.added", item: {} });
    const usage = event({ choices: [], usage: { prompt_tokens: 1 } });
    for (const nothing of [
      ROLE,
      chunk({ content: "", tool_calls: [] }),
      chunk({}),
      ": still here\n\n",
      "event: x\n\n",
      begun,
      usage,
      'data: {"choices"',
    ]) {
      const body = new PassThrough();
      body.write(nothing);
      const first = vi.fn<(read: Readable) => void>();
      const waiting = untilFirstToken(body).then(first);
      await new Promise((resolve) => setTimeout(resolve, 5));
      expect(first).not.toHaveBeenCalled();
      body.destroy(new ModelFault("silent", "enough"));
      await expect(waiting).rejects.toThrow("enough");
    }
  });

  const faults: readonly (readonly [string, () => Readable, string])[] = [
    ["an error", () => streamOf(ROLE, event({ error: { message: "cuda died" } })), "cuda died"],
    ["an error that is a text", () => streamOf(event({ error: "no memory" })), "no memory"],
    ["an error of a response", () => streamOf(event({ type: "error", code: "x", message: "no memory" })), "no memory"],
    ["a failed response", () => streamOf(event({ type: "response.failed", response: { error: { message: "no memory" } } })), "no memory"],
    ["an error in a field of its name", () => streamOf('error: {"message":"x"}\n\n'), "error"],
    ["a page", () => streamOf("<!doctype html>"), "events"],
    ["no JSON", () => streamOf("data: hello\n\n"), "read"],
    ["a number", () => streamOf("data: 7\n\n"), "read"],
    ["an end", () => streamOf(ROLE), "before its first token"],
    ["nothing", () => streamOf(), "before its first token"],
    ["an end in the middle", () => streamOf('data: {"choices":[{"delta":{"con'), ""],
    ["a line that breaks", () => slowly([Buffer.from(ROLE)], (body) => body.destroy(new Error("reset"))), "reset"],
    ["a line that closes", () => slowly([Buffer.from(ROLE)], (body) => body.destroy()), "before its first token"],
  ];
  test.each(faults)("%s is a fault, and the rest is not waited for (T2)", async (_what, make, message) => {
    const body = make();
    const error: unknown = await untilFirstToken(body).catch((error: unknown) => error);
    expect(error).toBeInstanceOf(ModelFault);
    expect((error as ModelFault).message).toContain(message);
    expect(body.destroyed).toBe(true);
  });

  test("wherever the pieces are cut", async () => {
    const check = async (whole: string, places: readonly number[]): Promise<void> => {
      expect(await text(await untilFirstToken(slowly(cutAt(whole, places))))).toBe(whole);
    };
    await fc.assert(fc.asyncProperty(anyCuts, (places) => check(CHAT, places)));
    await fc.assert(fc.asyncProperty(anyCuts, (places) => check(CHAT.replaceAll("\n", "\r\n"), places)));
    await check(
      CHAT,
      Array.from({ length: CHAT.length }, (_, at) => at),
    );
  });

  test("one that is over at once, and one that forgets its last blank line", async () => {
    expect(await text(await untilFirstToken(streamOf(DONE)))).toBe(DONE);
    expect(await text(await untilFirstToken(streamOf(ROLE, "data: [DONE]")))).toBe(`${ROLE}data: [DONE]`);
    expect(await text(await untilFirstToken(streamOf(CHAT)))).toBe(CHAT);
  });

  test("who goes on and on without a word is let through, and holds no more than a limit", async () => {
    let given = 0;
    const body = new Readable({
      read() {
        given += ROLE.length;
        this.push(ROLE);
      },
    });
    expect(await untilFirstToken(body)).toBe(body);
    expect(given).toBeLessThan(512 * 1024);
    body.destroy();
  });

  test("reads nothing beyond the first token", async () => {
    const body = new PassThrough({ highWaterMark: 1_024 });
    body.write(chunk({ content: "a" }));
    await untilFirstToken(body);
    let written = 0;
    while (body.write(chunk({ content: "b" }))) written++;
    await new Promise((resolve) => setTimeout(resolve, 5));
    expect(written).toBeLessThan(40);
    expect(body.writableNeedDrain).toBe(true);
  });
});

describe("passOn", () => {
  test("passes whole answers as they came, wherever their pieces are cut, and counts", async () => {
    await fc.assert(
      fc.asyncProperty(anyCuts, fc.boolean(), async (places, isWindows) => {
        const whole = isWindows ? CHAT.replaceAll("\n", "\r\n") : CHAT;
        const { out, told } = passed(slowly(cutAt(whole, places)));
        expect(await text(out)).toBe(whole);
        expect(told).toEqual({ events: 6, over: [undefined] });
      }),
    );
  });

  test("wherever an answer is cut, what is said are whole events, and the last one is the error (T3, T4)", async () => {
    const said = CHAT.slice(0, -DONE.length);
    const length = Buffer.byteLength(said);
    await fc.assert(
      fc.asyncProperty(fc.nat(length), anyCuts, fc.constantFrom("end", "close", "fail"), async (end, places, how) => {
        const pieces = cutAt(said, [...places, end]);
        const kept: Buffer[] = [];
        for (const piece of pieces) {
          if (Buffer.concat(kept).length >= end) break;
          kept.push(piece);
        }
        const { out, told } = passed(
          slowly(
            kept,
            (body) => void (how === "end" ? body.end() : body.destroy(how === "fail" ? new ModelFault("silent", "x") : undefined)),
          ),
        );
        const text_ = await text(out);
        expect(text_.endsWith(CUT)).toBe(true);
        const before = text_.slice(0, -CUT.length);
        expect(said.startsWith(before)).toBe(true);
        expect(before === "" || before.endsWith("\n\n")).toBe(true);
        expect(told.over).toHaveLength(1);
        expect(told.over[0]).toBeInstanceOf(ModelFault);
      }),
    );
  });

  test("a line that breaks behind the mark has lost nothing", async () => {
    const { out, told } = passed(slowly([Buffer.from(CHAT)], (body) => body.destroy(new ModelFault("unreachable", "reset"))));
    expect([await text(out), told.over]).toEqual([CHAT, [undefined]]);
  });

  test("a mark without its blank line counts, and words that look like one do not", async () => {
    expect(await text(passed(streamOf(ROLE, "data: [DONE]")).out)).toContain("[DONE]");
    for (const word of ["[DONE]", "data: [DONE]\n\n", '"error"', '{"error":{}}', '"response.completed"']) {
      const { out } = passed(streamOf(chunk({ content: word })));
      expect(await text(out)).toBe(chunk({ content: word }) + CUT);
    }
  });

  test("what cannot be read is not passed, and its source is ended", async () => {
    const body = slowly([Buffer.from(ROLE), Buffer.from("<p>sorry</p>\n")], () => undefined);
    const { out, told } = passed(body);
    expect(await text(out)).toBe(ROLE + CUT);
    expect(told.over[0]).toMatchObject({ kind: "garbage" });
    expect(body.destroyed).toBe(true);
  });

  test("a reader that stands still holds the source back, and gets all in the end", async () => {
    const word = chunk({ content: "x".repeat(1_000) });
    let given = 0;
    const body = new Readable({
      read() {
        this.push(given++ < 2_000 ? word : given === 2_001 ? DONE : null);
      },
    });
    const { out, told } = passed(body);
    await new Promise((resolve) => setTimeout(resolve, 20));
    expect(given * word.length).toBeLessThan(512 * 1024);
    expect(told.over).toEqual([]);
    expect((await text(out)).length).toBe(2_000 * word.length + DONE.length);
    expect(told.over).toEqual([undefined]);
  });

  test("whoever goes away ends the source, and it is told", async () => {
    for (const reads of [true, false]) {
      const body = new PassThrough();
      body.write(ROLE);
      const { out, told } = passed(body);
      if (reads) out.resume();
      await new Promise((resolve) => setImmediate(resolve));
      out.destroy();
      await vi.waitFor(() => expect(body.destroyed).toBe(true), SOON);
      expect(told.over).toEqual(["left"]);
    }
  });

  test("of a source that was over before, or fails of what is no fault of a model", async () => {
    const over = streamOf();
    over.destroy();
    expect(await text(passed(over).out)).toBe(CUT);
    const { out, told } = passed(slowly([Buffer.from(ROLE)], (body) => body.destroy(new Error("reset"))));
    expect(await text(out)).toBe(ROLE + CUT);
    expect(told.over[0]).toMatchObject({ kind: "unreachable", message: "reset" });
  });
});
