/** Output on its way to the bus, by itself: gathered, cut, limited, numbered. */
import { ClusterError } from "@openclaw-cluster/contract/errors";
import { LIMITS } from "@openclaw-cluster/contract/limits";
import type { OutputChunk } from "@openclaw-cluster/contract/wire";
import fc from "fast-check";
import { expect, test } from "vitest";
import { HandClock } from "../../../tests/support/hand-clock.ts";
import { ref } from "../../../tests/support/worker-ground.ts";
import { silentLog } from "../system/log.ts";
import { Output } from "./output.ts";

interface Options {
  readonly limitBytes?: number;
  readonly append?: (chunk: OutputChunk) => Promise<void>;
  readonly connected?: boolean;
  readonly leaving?: boolean;
}

function ground(options: Options = {}) {
  const clock = new HandClock();
  const chunks: OutputChunk[] = [];
  const store = async (chunk: OutputChunk): Promise<void> => void chunks.push(chunk);
  const { limitBytes = LIMITS.outputBytesMax, append = store, connected = true, leaving = false } = options;
  const state = { connected: () => connected, leaving: () => leaving };
  return { clock, chunks, store, output: new Output({ ref: ref(1), append, ...state, clock, log: silentLog, limitBytes, first: 0 }) };
}

const turn = (): Promise<void> => new Promise((resolve) => void setImmediate(resolve));
async function turns(clock: HandClock, ms: number): Promise<void> {
  for (let passed = 0; passed < ms; passed += 500) {
    clock.advance(500);
    for (let count = 0; count < 5; count++) await turn();
  }
}

test("words of a moment go together, other streams apart, and the last one says so (O4)", async () => {
  const { clock, chunks, output } = ground();
  await output.write("stdout", "one ");
  await output.write("stdout", "two");
  await output.write("stderr", "oops");
  expect(chunks).toEqual([]);
  clock.advance(50);
  await turn();
  await output.write("tool", "", { name: "search" });
  await output.end();
  await output.write("stdout", "too late");
  expect(chunks.map(({ n, stream, text, data, last }) => [n, stream, text, data, last])).toEqual([
    [0, "stdout", "one two", undefined, undefined],
    [1, "stderr", "oops", undefined, undefined],
    [2, "tool", "", { name: "search" }, true],
  ]);
});

test("where nothing was printed, or all is sent, an empty note is the last", async () => {
  const { chunks, output } = ground();
  await output.end();
  expect(chunks).toMatchObject([{ n: 0, stream: "note", text: "", last: true }]);
});

test("beyond the limit one note, then nothing; the limit is exact and splits no character (O2)", async () => {
  const { chunks, output } = ground({ limitBytes: 10 });
  await output.write("stdout", "12345678é9");
  for (let count = 0; count < 100; count++) await output.write("stdout", "more");
  await output.end();
  expect(chunks.map(({ stream, text, last }) => [stream, text, last])).toEqual([
    ["stdout", "12345678é", undefined],
    ["note", "output cut at 10 bytes", true],
  ]);
});

test("no chunk is larger than allowed, nothing is lost or reordered, whatever is printed", async () => {
  const text = fc.oneof(
    fc.string({ unit: "grapheme", maxLength: 20 }),
    fc.constant("é".repeat(50_000)),
    fc.constant("😀".repeat(40_000)),
    fc.constant("\0".repeat(50_000)),
  );
  await fc.assert(
    fc.asyncProperty(fc.array(text, { maxLength: 6 }), async (texts) => {
      const { chunks, output } = ground();
      for (const one of texts) await output.write("stdout", one);
      await output.end();
      expect(chunks.map((chunk) => chunk.text).join("")).toBe(texts.join(""));
      expect(chunks.map(({ n }) => n)).toEqual(chunks.map((_, index) => index));
      for (const { text } of chunks) {
        expect(Buffer.byteLength(text)).toBeLessThanOrEqual(LIMITS.outputChunkBytesMax);
        expect(JSON.stringify(text).length).toBeLessThanOrEqual(2 * LIMITS.outputChunkBytesMax);
      }
      expect(chunks.filter(({ last }) => last)).toHaveLength(1);
    }),
    { numRuns: 30 },
  );
});

test("data larger than a chunk is left out, and says how large it was", async () => {
  const { chunks, output } = ground();
  await output.write("tool", "result", { page: "x".repeat(LIMITS.outputChunkBytesMax) });
  await output.end();
  expect(chunks[0]).toMatchObject({ text: "result", data: { leftOutBytes: LIMITS.outputChunkBytesMax + 11 } });
});

test("a full pipe holds the writer until the bus has taken it (O1)", async () => {
  const gate = Promise.withResolvers<void>();
  const { output } = ground({ append: () => gate.promise });
  let through = false;
  const writing = output.write("stdout", "x".repeat(LIMITS.outputChunkBytesMax)).then(() => (through = true));
  await turn();
  expect(through).toBe(false);
  gate.resolve();
  await writing;
});

test("a bus that refuses for a while costs nothing; one that refuses for long costs the chunk, not the attempt (O3)", async () => {
  let refuse = 3;
  const found = ground({
    append: async (chunk) => {
      if (refuse-- > 0) throw new ClusterError("bus_timeout", "not now");
      await found.store(chunk);
    },
  });
  await found.output.write("stdout", "first");
  await turns(found.clock, 2_500);
  expect(found.chunks.map(({ text }) => text)).toEqual(["first"]);
  refuse = 20;
  await found.output.write("stdout", "second");
  await turns(found.clock, 12_000);
  await found.output.write("stdout", "third");
  await found.output.end();
  expect(found.chunks.map(({ n, text }) => [n, text])).toEqual([
    [0, "first"],
    [2, "third"],
  ]);
});

test("the end waits half a minute for a bus that is slow or away, ten seconds for one that refuses, and five when the worker ends", async () => {
  const refuses = (): Promise<void> => Promise.reject(new ClusterError("bus_unreachable", "no"));
  const keepsSilent = (): Promise<void> => new Promise(() => undefined);
  for (const [connected, leaving, append, ms] of [
    [true, false, refuses, 10_000],
    [true, false, keepsSilent, 30_000],
    [true, true, keepsSilent, 5_000],
    [false, false, refuses, 30_000],
    [false, true, refuses, 5_000],
  ] as const) {
    const { clock, output } = ground({ connected, leaving, append });
    let ended = false;
    const ending = output.end().then(() => (ended = true));
    await turns(clock, ms - 1_000);
    expect(ended).toBe(false);
    await turns(clock, 1_000);
    await ending;
  }
});
