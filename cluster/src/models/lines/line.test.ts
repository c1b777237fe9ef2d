import { once } from "node:events";
import { connect, createServer, type Server, type Socket, type AddressInfo } from "node:net";
import { Readable } from "node:stream";
import { text } from "node:stream/consumers";
import { afterEach, expect, test, vi } from "vitest";
import { linePair } from "../../../../tests/support/line-pair.ts";
import { answerOver, askOver, type Answerer, type AskingEnd } from "./line.ts";
import { BodyRoom } from "../../system/body-room.ts";
import { readJson, readLines, readWhole } from "./line-body.ts";
import { ModelFault } from "../models.ts";

const never = new AbortController().signal;
const SOON = { timeout: 5_000, interval: 10 };

let open: { server: Server; sockets: Socket[]; ends: { close(): void }[] } | undefined;
afterEach(() => {
  for (const end of open?.ends ?? []) end.close();
  for (const socket of open?.sockets ?? []) socket.destroy();
  open?.server.close();
});

/** The side that answers has called, as a node does. */
async function line(answerer: Answerer): Promise<{ asking: AskingEnd; sockets: Socket[] }> {
  const server = createServer().listen(0, "127.0.0.1");
  await once(server, "listening");
  const near = connect((server.address() as AddressInfo).port, "127.0.0.1");
  const [far] = (await once(server, "connection")) as [Socket];
  const asking = askOver(far);
  open = { server, sockets: [near, far], ends: [answerOver(near, answerer), asking] };
  return { asking, sockets: [near, far] };
}

const saying = (...pieces: string[]): { status: number; headers: Record<string, string>; body: Readable } => ({
  status: 200,
  headers: { "content-type": "text/plain" },
  body: Readable.from(pieces.map((piece) => Buffer.from(piece))),
});

test("a question and its answer cross whole, also what is not ASCII", async () => {
  const { asking } = await line(async ({ path, headers, body }) => ({
    ...saying(`${path} ${await text(body)} ${headers["x-name"]}`),
    headers: { "x-back": "回答" },
  }));
  const { status, headers, body } = await asking.ask({ path: "/chat", headers: { "x-name": "李 & %41" }, body: "你好" }, never);
  expect([status, headers["x-back"], await text(body)]).toEqual([200, "回答", "/chat 你好 李 & %41"]);
});

test("whoever goes away is told to whoever answers, at once (L3)", async () => {
  let told = 0;
  const { asking } = await line(async (_question, gone) => {
    gone.addEventListener("abort", () => (told = performance.now()));
    return { ...saying(), body: new Readable({ read: () => undefined }) };
  });
  const leaving = new AbortController();
  await asking.ask({ path: "/a", headers: {} }, leaving.signal);
  const at = performance.now();
  leaving.abort();
  await vi.waitFor(() => expect(told).toBeGreaterThan(at), SOON);
  const { body } = await asking.ask({ path: "/b", headers: {} }, never);
  told = 0;
  body.destroy();
  await vi.waitFor(() => expect(told).toBeGreaterThan(0), SOON);
});

test("a reader that stands still holds back its own answer only (L1)", async () => {
  const given = { "/slow": 0, "/quick": 0 } as Record<string, number>;
  const piece = Buffer.alloc(16 * 1024, "x");
  const { asking } = await line(async ({ path }) => {
    let left = 256;
    const read = function (this: Readable): void {
      given[path] = (given[path] ?? 0) + piece.length;
      this.push(left-- > 0 ? piece : null);
    };
    return { ...saying(), body: new Readable({ read }) };
  });
  const slow = await asking.ask({ path: "/slow", headers: {} }, never);
  const quick = await asking.ask({ path: "/quick", headers: {} }, never);
  expect((await text(quick.body)).length).toBe(256 * piece.length);
  // Both windows, and what streams hold themselves.
  expect(given["/slow"]).toBeLessThan(512 * 1024);
  expect((await text(slow.body)).length).toBe(256 * piece.length);
});

test.for(["the other machine", "this one"])(
  "a line that %s ends, ends what is under way with a fault, and nothing more is asked",
  async (who) => {
    const { asking, sockets } = await line(async () => ({ ...saying(), body: new Readable({ read: () => undefined }) }));
    const { body } = await asking.ask({ path: "/a", headers: {} }, never);
    const cut = text(body).then(
      () => "whole",
      () => "cut",
    );
    if (who === "this one") asking.close();
    else sockets[0]?.destroy();
    expect(await cut).toBe("cut");
    await asking.ended;
    await expect(asking.ask({ path: "/a", headers: {} }, never)).rejects.toBeInstanceOf(ModelFault);
  },
);

test("an answerer that throws ends its own request", async () => {
  const { asking } = await line(async ({ path }) => {
    if (path === "/bad") throw new Error("as planned");
    return saying("good");
  });
  await expect(asking.ask({ path: "/bad", headers: {} }, never)).rejects.toBeInstanceOf(ModelFault);
  expect(await text((await asking.ask({ path: "/good", headers: {} }, never)).body)).toBe("good");
});

test("questions of one line hold so much together, each until its answer is over", async () => {
  const room = new BodyRoom(100, 0);
  const [first, second] = [new AbortController(), new AbortController()];
  const read = (size: number, over: AbortSignal): Promise<unknown> =>
    readJson(Readable.from([Buffer.from(JSON.stringify({ a: "x".repeat(size) }))]), { bytesMax: 1_000, room, over });
  await read(60, first.signal);
  await expect(read(60, second.signal)).rejects.toMatchObject({ kind: "crowded" });
  second.abort();
  first.abort();
  await read(60, new AbortController().signal);
});

test("bodies are read within their limit", async () => {
  await expect(readWhole(Readable.from([Buffer.alloc(8), Buffer.alloc(8)]), 10)).rejects.toMatchObject({ kind: "too_large" });
  const lines: string[] = [];
  await readLines(Readable.from([Buffer.from("one\ntw"), Buffer.from("o\nthree")]), 100, (read) => lines.push(read));
  expect(lines).toEqual(["one", "two"]);
});

test("a question that is given up before it was sent, or at once, fails, and the line goes on", async () => {
  const { asking } = await line(async ({ path }) => saying(path));
  for (const wait of [undefined, 0, 1]) {
    const leaving = new AbortController();
    const asked = asking.ask({ path: "/a", headers: {}, body: "x".repeat(100_000) }, leaving.signal);
    if (wait !== undefined) await new Promise((resolve) => setTimeout(resolve, wait));
    leaving.abort();
    // It may have been answered by then.
    const end = await asked.then(
      async ({ body }) => text(body).catch((error: unknown) => error),
      (error: unknown) => error,
    );
    if (end !== "/a") expect(end).toBeInstanceOf(ModelFault);
  }
  expect(await text((await asking.ask({ path: "/b", headers: {} }, never)).body)).toBe("/b");
});

test("an end that is not heard any more is given up, and what was under way fails (L2)", async () => {
  vi.useFakeTimers({ toFake: ["setInterval", "setTimeout", "clearInterval", "clearTimeout"] });
  try {
    const server = createServer().listen(0, "127.0.0.1");
    await once(server, "listening");
    const near = connect((server.address() as AddressInfo).port, "127.0.0.1");
    const [far] = (await once(server, "connection")) as [Socket];
    // It takes all that is said, and says nothing.
    near.resume();
    const asking = askOver(far);
    open = { server, sockets: [near, far], ends: [asking] };
    const asked = asking.ask({ path: "/a", headers: {} }, never).catch((error: unknown) => error);
    await vi.advanceTimersByTimeAsync(2_000);
    await vi.advanceTimersByTimeAsync(4_000);
    expect(await asked).toBeInstanceOf(ModelFault);
    await asking.ended;
  } finally {
    vi.useRealTimers();
  }
});

test("how far the other side is away is the shortest of the last few pings (L5)", async () => {
  vi.useFakeTimers({ toFake: ["setInterval", "clearInterval"] });
  const [one, two] = [await linePair(), await linePair()];
  try {
    one.far.pipe(two.near);
    two.near.pipe(one.far);
    const answering = answerOver(two.far, async ({ path }) => saying(path));
    const asking = askOver(one.near);
    open = { server: createServer(), sockets: [], ends: [answering, asking] };
    /** The answer to a ping comes before that to a question that was asked behind it. */
    const ping = async (heldMs: number): Promise<number | undefined> => {
      one.far.pause();
      vi.advanceTimersByTime(2_000);
      const asked = asking.ask({ path: "/a", headers: {} }, never);
      await new Promise((resolve) => setTimeout(resolve, heldMs));
      one.far.resume();
      await text((await asked).body);
      return asking.roundTripMs;
    };
    expect(asking.roundTripMs).toBeUndefined();
    expect(answering.roundTripMs).toBeUndefined();
    expect(await ping(250)).toBeGreaterThan(200);
    const quick = (await ping(0)) as number;
    expect(quick).toBeGreaterThan(0);
    const held = quick + 60;
    for (let slow = 0; slow < 4; slow++) expect(await ping(held)).toBe(quick);
    expect(await ping(held)).toBeGreaterThan(quick);
    expect(answering.roundTripMs).toBeGreaterThan(0);
  } finally {
    vi.useRealTimers();
    for (const pair of [one, two]) pair.end();
  }
});
