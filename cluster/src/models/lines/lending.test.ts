import { PassThrough, Readable } from "node:stream";
import { text } from "node:stream/consumers";
import type { NodeModelOffer } from "@openclaw-cluster/contract/models";
import { afterEach, describe, expect, test, vi } from "vitest";
import { linePair, type LinePair } from "../../../../tests/support/line-pair.ts";
import { lent } from "../../core/models/fixtures.ts";
import { borrowOver, lendOver, PolicyRefusal, type Lender } from "./lending.ts";
import { askOver } from "./line.ts";
import { ModelFault, type ModelAnswer, type ModelAsker, type ModelQuestion, type ModelShelf, QUESTION_BYTES_MAX } from "../models.ts";

const SOON = { timeout: 5_000, interval: 2 };
const never = new AbortController().signal;
const ANN: ModelAsker = { token: "t1", name: "ann" };

const offer = (id: string): NodeModelOffer => {
  const { node: _node, ...own } = lent("here", id);
  return own;
};

class FakeShelf implements ModelShelf {
  models: readonly NodeModelOffer[] = [offer("m")];
  readonly asked: ModelQuestion[] = [];
  readonly listeners = new Set<() => void>();
  answer: (question: ModelQuestion, signal: AbortSignal) => Promise<ModelAnswer> = async () => ({
    status: 200,
    contentType: "application/json",
    body: Readable.from([Buffer.from('{"a":1}')]),
  });

  onChange(listener: () => void): { stop(): void } {
    this.listeners.add(listener);
    return { stop: () => this.listeners.delete(listener) };
  }

  look(): Promise<void> {
    return Promise.resolve();
  }

  ask(question: ModelQuestion, signal: AbortSignal): Promise<ModelAnswer> {
    this.asked.push(question);
    return this.answer(question, signal);
  }

  show(...ids: string[]): void {
    this.models = ids.map(offer);
    for (const listener of this.listeners) listener();
  }

  close(): void {}
}

let pair: LinePair | undefined;
afterEach(() => pair?.end());

const rules = {
  refused: undefined as string | undefined,
  hidden: new Set<string>(),
  onBattery: false,
  listeners: new Set<() => void>(),
  asked: [] as unknown[],
};

async function stage(): Promise<{ shelf: FakeShelf; lender: Lender }> {
  Object.assign(rules, { refused: undefined, hidden: new Set(), onBattery: false, listeners: new Set(), asked: [] });
  const shelf = new FakeShelf();
  pair = await linePair();
  lendOver(pair.near, shelf, {
    refusal: (model, asker) => (rules.asked.push([model, asker]), rules.refused),
    lends: ({ id }) => !rules.hidden.has(id),
    get onBattery() {
      return rules.onBattery;
    },
    onChange: (listener) => (rules.listeners.add(listener), { stop: () => rules.listeners.delete(listener) }),
  });
  const lender = borrowOver(pair.far);
  await vi.waitFor(() => expect(lender.models.length).toBe(1), SOON);
  return { shelf, lender };
}

const question = (more: Partial<ModelQuestion> = {}): ModelQuestion => ({
  ...{ path: "/chat/completions", model: "m", endpoint: "ollama", body: { messages: [] } },
  ...more,
});

test("a lender is as far away as its line, which is measured again and again", async () => {
  vi.useFakeTimers({ toFake: ["setInterval", "clearInterval"] });
  try {
    const { lender } = await stage();
    expect(lender.roundTripMs).toBeUndefined();
    vi.advanceTimersByTime(2_000);
    await vi.waitFor(() => expect(lender.roundTripMs).toBeGreaterThan(0), SOON);
  } finally {
    vi.useRealTimers();
  }
});

describe("the list", () => {
  const ids = ({ models }: Lender): string[] => models.map(({ id }) => id);

  test("is told at once, and at each change, as far as it is lent", async () => {
    const { shelf, lender } = await stage();
    let heard = 0;
    const listening = lender.onChange(() => heard++);
    shelf.show("m", "n");
    await vi.waitFor(() => expect(ids(lender)).toEqual(["m", "n"]), SOON);
    rules.hidden.add("n");
    for (const listener of rules.listeners) listener();
    await vi.waitFor(() => expect(ids(lender)).toEqual(["m"]), SOON);
    expect(heard).toBe(2);
    rules.onBattery = true;
    for (const listener of rules.listeners) listener();
    await vi.waitFor(() => expect(lender.models).toMatchObject([{ id: "m", onBattery: true }]), SOON);
    shelf.show("m", "n");
    listening.stop();
    shelf.show();
    await vi.waitFor(() => expect(ids(lender)).toEqual([]), SOON);
    expect(heard).toBe(3);
  });

  test("of changes that nobody reads yet only the last one waits", async () => {
    const { shelf, lender } = await stage();
    pair?.far.pause();
    const many = Array.from({ length: 250 }, (_, at) => `model-${at}`);
    const before = process.memoryUsage().heapUsed;
    for (let round = 0; round < 400; round++) shelf.show(...many.map((id) => `${id}-${round}`));
    expect(process.memoryUsage().heapUsed - before).toBeLessThan(30 * 1024 * 1024);
    pair?.far.resume();
    await vi.waitFor(() => expect(ids(lender)).toEqual(many.map((id) => `${id}-399`)), SOON);
  });

  test("nobody listens any more once the line has ended", async () => {
    const { shelf, lender } = await stage();
    lender.close();
    await lender.ended;
    await vi.waitFor(() => expect([shelf.listeners.size, rules.listeners.size]).toEqual([0, 0]), SOON);
  });

  test("that is not understood is none", async () => {
    const { shelf, lender } = await stage();
    shelf.models = [{ ...offer("m"), state: "dreaming" as "cold" }];
    for (const listener of shelf.listeners) listener();
    await vi.waitFor(() => expect(ids(lender)).toEqual([]), SOON);
    shelf.show("m");
    await vi.waitFor(() => expect(ids(lender)).toEqual(["m"]), SOON);
  });
});

describe("a question", () => {
  test("reaches the shelf as it was asked, for whoever asks", async () => {
    const { shelf, lender } = await stage();
    const asked = question({ model: "家/m:8b", endpoint: "my server", body: { messages: [{ role: "user", content: "你好 🙂" }] } });
    const { status, contentType, body } = await lender.ask(asked, { token: "t1", name: "Anna Müller" }, never);
    expect([status, contentType, await text(body)]).toEqual([200, "application/json", '{"a":1}']);
    expect(shelf.asked).toEqual([asked]);
    expect(rules.asked).toEqual([["家/m:8b", { token: "t1", name: "Anna Müller" }]]);
    await lender.ask(question(), { token: "t2" }, never);
    expect(rules.asked.at(-1)).toEqual(["m", { token: "t2" }]);
  });

  test("is refused by the node's rule, and its server never hears of it (N1)", async () => {
    const { shelf, lender } = await stage();
    rules.refused = "not for ann, who is 李";
    const refused: unknown = await lender.ask(question(), ANN, never).catch((error: unknown) => error);
    expect(refused).toBeInstanceOf(PolicyRefusal);
    expect(refused).toMatchObject({ message: "not for ann, who is 李" });
    expect(shelf.asked).toEqual([]);
  });

  test.each(["unreachable", "silent", "garbage", "too_large", "unknown_model", "unsupported"] as const)(
    "fails as its server: %s",
    async (kind) => {
      const { shelf, lender } = await stage();
      shelf.answer = () => Promise.reject(new ModelFault(kind, "as planned"));
      await expect(lender.ask(question(), ANN, never)).rejects.toMatchObject({ name: "ModelFault", kind, message: "as planned" });
    },
  );

  test("that fails of what nobody foresaw, or has a status that cannot be said, ends alone", async () => {
    const { shelf, lender } = await stage();
    const body = new PassThrough();
    for (const answer of [() => Promise.reject(new TypeError("x")), async () => ({ status: 999, contentType: "application/json", body })]) {
      shelf.answer = answer;
      await expect(lender.ask(question(), ANN, never)).rejects.toMatchObject({ kind: "unreachable" });
    }
    expect(body.destroyed).toBe(true);
    shelf.answer = new FakeShelf().answer;
    expect((await lender.ask(question(), ANN, never)).status).toBe(200);
  });

  test("that is none is refused: no JSON, no object, nested too deep, too large, at another path", async () => {
    const { shelf } = await stage();
    const line = askOver((pair = await linePair()).far);
    lendOver(pair.near, shelf, { refusal: () => undefined, lends: () => true, onChange: () => ({ stop: () => undefined }) });
    const faultOf = async (path: string, body: string): Promise<string | undefined> => {
      const answer = await line.ask({ path, headers: { "x-model": "m" }, body }, never);
      await text(answer.body);
      return answer.headers["x-fault"];
    };
    for (const body of ["", "{", "null", "[]", '"text"', `{"a":${"[".repeat(2_000)}${"]".repeat(2_000)}}`])
      expect(await faultOf("/chat/completions", body)).toBe("garbage");
    expect(await faultOf("/chat/completions", `{"a":"${"x".repeat(QUESTION_BYTES_MAX)}"}`)).toBe("too_large");
    for (const path of ["/api/pull", "/", "/models/", "/chat/completions/../pull"]) expect(await faultOf(path, "{}")).toBe("unsupported");
    // What was not read of a large one does not hold up the next.
    expect(await faultOf("/api/pull", "x".repeat(1024 * 1024))).toBe("unsupported");
    expect(shelf.asked).toEqual([]);
  });

  test("that is given up ends at the shelf: before its answer, and while it comes", async () => {
    const { shelf, lender } = await stage();
    const seen: AbortSignal[] = [];
    shelf.answer = (_question, signal) => (seen.push(signal), new Promise(() => undefined));
    const leaving = new AbortController();
    const asked = lender.ask(question(), ANN, leaving.signal);
    await vi.waitFor(() => expect(seen).toHaveLength(1), SOON);
    leaving.abort();
    await expect(asked).rejects.toBeInstanceOf(ModelFault);
    await vi.waitFor(() => expect(seen[0]?.aborted).toBe(true), SOON);
    const body = new PassThrough();
    body.write("x");
    shelf.answer = async (_question, signal) => (seen.push(signal), { status: 200, contentType: "text/event-stream", body });
    (await lender.ask(question(), ANN, never)).body.destroy();
    await vi.waitFor(() => expect([seen[1]?.aborted, body.destroyed]).toEqual([true, true]), SOON);
    await expect(lender.ask(question(), ANN, AbortSignal.abort())).rejects.toBeInstanceOf(ModelFault);
  });

  test("whose server fails in the middle fails in the middle, and no whole answer is made of it", async () => {
    const { shelf, lender } = await stage();
    const body = new PassThrough();
    body.write("half");
    shelf.answer = async () => ({ status: 200, contentType: "application/json", body });
    const answer = await lender.ask(question(), ANN, never);
    body.destroy(new ModelFault("silent", "it stopped"));
    await expect(text(answer.body)).rejects.toBeInstanceOf(ModelFault);
  });
});
