/**
 * What a node lends, over its line to whoever leads: the list of its models as it changes, and answers.
 *
 * N1. The node decides (G7): its rule is asked for each request, whatever comes over the line.
 */
import { PassThrough, Readable, type Duplex } from "node:stream";
import { NODE_MODELS_MAX, NodeModelOffer, type NodeModels } from "@openclaw-cluster/contract/models";
import { z } from "zod";
import { jsonOf } from "../../system/json-of.ts";
import { BodyRoom } from "../../system/body-room.ts";
import { readJson, readLines, readWhole } from "./line-body.ts";
import { answerOver, askOver, type LineAnswer, type LineEnd } from "./line.ts";
import {
  MODEL_FAULTS,
  MODEL_PATHS,
  ModelFault,
  QUESTION_BYTES_MAX,
  type ModelAnswer,
  type ModelAsker,
  type ModelQuestion,
  type ModelShelf,
} from "../models.ts";
import { eachOf } from "../servers/reading.ts";

/** All that one line asks at a time: some hundred prompts of an agent's, or eight chats with pictures. */
export const LINE_BYTES_MAX = 128 * 1024 * 1024;
/** B1 in body-room.ts: of as many streams as a line has, 32 MiB. */
export const SMALL_BYTES_MAX = 64 * 1024;
/** A list of NODE_MODELS_MAX models. */
const LIST_BYTES_MAX = 1024 * 1024;
const MESSAGE_BYTES_MAX = 64 * 1024;
/** Beside MODEL_PATHS: what there is to ask. */
export const LIST = "/models";
/** One that a newer build tells of in a new way does not hide the others. */
const Told = z.object({ models: eachOf(NodeModelOffer) });
const FAULT = "x-fault";
const POLICY = "policy";

export interface LendingRule {
  /** undefined: yes; else why not, for people. */
  refusal(model: string, asker: ModelAsker): string | undefined;
  /** Is it lent to anybody, now? */
  lends(model: NodeModelOffer): boolean;
  /** The machine runs on its battery: what it lends all the same is told with that. */
  readonly onBattery?: boolean;
  onChange(listener: () => void): { stop(): void };
}

/** The node's end. */
export function lendOver(socket: Duplex, shelf: ModelShelf, rule: LendingRule): LineEnd {
  const room = new BodyRoom(LINE_BYTES_MAX, SMALL_BYTES_MAX);
  return answerOver(socket, async ({ path, headers, body }, gone) => {
    if (path === LIST) return told(shelf, rule, gone);
    const known = MODEL_PATHS.find((one) => one === path);
    if (known === undefined) return fault("unsupported", "this is not asked of a node");
    try {
      const asked = await readJson(body, { bytesMax: QUESTION_BYTES_MAX, room, over: gone });
      const { "x-model": model = "", "x-endpoint": endpoint = "", "x-token": token = "", "x-name": name } = headers;
      const why = rule.refusal(model, { token, ...(name !== undefined && { name }) });
      if (why !== undefined) return fault(POLICY, why);
      const answer = await shelf.ask({ path: known, model, endpoint, body: asked }, gone);
      return { status: answer.status, headers: { "content-type": answer.contentType }, body: answer.body };
    } catch (error) {
      if (error instanceof ModelFault) return fault(error.kind, error.message);
      throw error;
    }
  });
}

const fault = (kind: string, message: string): LineAnswer => ({
  status: 502,
  headers: { [FAULT]: kind },
  body: Readable.from([Buffer.from(message)]),
});

/** A line for each change, for as long as anybody listens. Of changes that come quicker than they are read only the last one is told. */
function told(shelf: ModelShelf, rule: LendingRule, gone: AbortSignal): LineAnswer {
  const body = new PassThrough();
  let last = "";
  const tell = (): void => {
    const mark = rule.onBattery === true ? { onBattery: true } : {};
    const models = shelf.models.filter((model) => rule.lends(model)).map((model) => ({ ...model, ...mark }));
    const now = `${JSON.stringify({ models } satisfies NodeModels)}\n`;
    if (now === last || body.destroyed || body.writableNeedDrain) return;
    last = now;
    body.write(now);
  };
  const listening = [shelf.onChange(tell), rule.onChange(tell)];
  gone.addEventListener("abort", () => {
    for (const one of listening) one.stop();
    body.destroy();
  });
  body.on("drain", tell);
  tell();
  return { status: 200, headers: { "content-type": "application/x-ndjson" }, body };
}

/** The node's own rule said no. */
export class PolicyRefusal extends Error {
  override name = "PolicyRefusal";
}

/** The end of whoever leads: a node that lends. */
export interface Lender extends LineEnd {
  /** As it last told. */
  readonly models: readonly NodeModelOffer[];
  onChange(listener: () => void): { stop(): void };
  /** Rejects with ModelFault and PolicyRefusal. */
  ask(question: ModelQuestion, asker: ModelAsker, signal: AbortSignal): Promise<ModelAnswer>;
}

export function borrowOver(socket: Duplex): Lender {
  const line = askOver(socket);
  const listeners = new Set<() => void>();
  let models: readonly NodeModelOffer[] = [];
  const heard = (text: string): void => {
    models = Told.safeParse(jsonOf(text)).data?.models.slice(0, NODE_MODELS_MAX) ?? [];
    for (const listener of listeners) listener();
  };
  void line
    .ask({ path: LIST, headers: {} }, new AbortController().signal)
    .then(({ body }) => readLines(body, LIST_BYTES_MAX, heard))
    .catch(() => undefined)
    .finally(() => line.close());
  return {
    ended: line.ended,
    close: () => line.close(),
    get roundTripMs() {
      return line.roundTripMs;
    },
    get models() {
      return models;
    },
    onChange(listener) {
      listeners.add(listener);
      return { stop: () => listeners.delete(listener) };
    },
    async ask({ path, model, endpoint, body }, { token, name }, signal) {
      const headers = { "x-model": model, "x-endpoint": endpoint, "x-token": token, ...(name !== undefined && { "x-name": name }) };
      const answer = await line.ask({ path, headers, body: JSON.stringify(body) }, signal);
      const kind = answer.headers[FAULT];
      if (kind === undefined) return { status: answer.status, contentType: answer.headers["content-type"] ?? "", body: answer.body };
      const message = (await readWhole(answer.body, MESSAGE_BYTES_MAX)).toString();
      if (kind === POLICY) throw new PolicyRefusal(message);
      throw new ModelFault(MODEL_FAULTS.find((one) => one === kind) ?? "garbage", message);
    },
  };
}
