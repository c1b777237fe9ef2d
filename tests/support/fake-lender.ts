/** Nodes that lend a model, for tests of the router: each answers as it is told to, and keeps what it was asked. */
import { PassThrough, Readable } from "node:stream";
import type { LentModel } from "@openclaw-cluster/contract/models";
import { lent } from "../../cluster/src/core/models/fixtures.ts";
import type { Lender } from "../../cluster/src/models/lines/lending.ts";
import {
  ModelFault,
  RouteRefusal,
  type ModelAnswer,
  type ModelQuestion,
  type ModelRequest,
  type RoutedAnswer,
} from "../../cluster/src/models/models.ts";
import { Router } from "../../cluster/src/models/routing/router.ts";
import { silentLog } from "../../cluster/src/system/log.ts";
import { HandClock } from "./hand-clock.ts";

const GB = 1e9;

/** Nodes are chosen in the order in which they are named: each model is larger, so slower, than the one before. */
const NODES = ["one", "two", "three", "four", "five"];

export type Ask = (question: ModelQuestion, signal: AbortSignal) => ModelAnswer | Promise<ModelAnswer>;

export interface FakeLender extends Lender {
  readonly asked: ModelQuestion[];
  ask: Lender["ask"];
  end(): void;
}

export function lender(models: readonly LentModel[], ask: Ask): FakeLender {
  const ended = Promise.withResolvers<void>();
  const asked: ModelQuestion[] = [];
  let isOver = false;
  return {
    ...{ models, asked, ended: ended.promise, onChange: () => ({ stop: () => undefined }) },
    async ask(question, _asker, signal) {
      if (isOver) throw new ModelFault("unreachable", "the line has ended");
      asked.push(question);
      return ask(question, signal);
    },
    end() {
      isOver = true;
      ended.resolve();
    },
    close: () => ended.resolve(),
  } as FakeLender;
}

/** One node for each way to answer. */
export function routerOf(...asks: readonly Ask[]): { router: Router; lenders: FakeLender[]; clock: HandClock } {
  const clock = new HandClock();
  const router = new Router({ aliases: () => ({}), clock, log: silentLog });

  const lenders = asks.map((ask, at) => {
    const node = NODES[at] as string;
    const model = lent(node, "m", { sizeBytes: (10 + at) * GB, slots: { total: 2, busy: 0 } });
    const one = lender([model], ask);
    router.lends(model.node, one);
    return one;
  });
  return { router, lenders, clock };
}

export const event = (json: unknown): string => `data: ${typeof json === "string" ? json : JSON.stringify(json)}\n\n`;
export const delta = (content: string, finish: string | null = null): string =>
  event({ choices: [{ index: 0, delta: { content }, finish_reason: finish }] });
export const ROLE = event({ choices: [{ index: 0, delta: { role: "assistant", content: "" }, finish_reason: null }] });
export const DONE = event("[DONE]");
export const streamed = (...pieces: string[]): ModelAnswer => ({
  status: 200,
  contentType: "text/event-stream",
  body: Readable.from(
    pieces.map((piece) => Buffer.from(piece)),
    { objectMode: false },
  ),
});
export const told = (status: number, json: object): ModelAnswer => ({
  status,
  contentType: "application/json",
  body: Readable.from([Buffer.from(JSON.stringify(json))]),
});
export const good: Ask = () => streamed(ROLE, delta("hello"), delta(" there", "stop"), DONE);
export const fails =
  (error: Error): Ask =>
  () =>
    Promise.reject(error);
export const hangs = (): { ask: Ask; bodies: PassThrough[] } => {
  const bodies: PassThrough[] = [];
  const ask: Ask = (_question, signal) => {
    const body = new PassThrough();
    signal.addEventListener("abort", () => body.destroy(new ModelFault("unreachable", "given up")));
    bodies.push(body);
    return { status: 200, contentType: "text/event-stream", body };
  };
  return { ask, bodies };
};

export const chat = (more: object = {}, request: Partial<ModelRequest> = {}): ModelRequest => ({
  ...{ path: "/chat/completions", body: { model: "m", messages: [{ role: "user", content: "hi" }], stream: true, ...more } },
  ...{ asker: { token: "t1", name: "ann" }, lane: "interactive" },
  ...request,
});
export const refusal = async (asked: Promise<RoutedAnswer>): Promise<RouteRefusal> => {
  const error = await asked.then(
    () => undefined,
    (error: unknown) => error,
  );
  if (!(error instanceof RouteRefusal)) throw new Error("it was not refused", { cause: error });
  return error;
};
