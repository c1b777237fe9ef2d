/**
 * Scripted model servers on the loopback, shaped like Ollama, LM Studio, llama-server, vLLM, mlx_lm.server, any other that speaks OpenAI's API,
 * and like a web server that is none of them ("stranger").
 *
 * H1. Each says of its models what the real one says where it says it, and nothing more: what a real one does not tell, this one does not.
 * H2. Each request is kept, with the moment its connection closed and whether the client closed it before the answer was whole.
 * H3. A server that was stopped can be started again at the same port; its models stay.
 * H4. An answer follows from the request: one tool call where tools are offered and no tool has answered yet, and else its words.
 */
import { createServer, type IncomingMessage, type Server, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { QUESTIONS } from "./model-shape-answers.ts";
import { LISTS } from "./model-shape-lists.ts";
import {
  refusal,
  send,
  type Json,
  type Reply,
  type Shape,
  type ShapedModel,
  type ShapeRequest,
  type ShapeSettings,
  type Stage,
} from "./model-shape-stage.ts";

export interface ModelShape {
  readonly shape: Shape;
  readonly port: number;
  /** Without /v1. */
  readonly url: string;
  readonly settings: ShapeSettings;
  readonly requests: readonly ShapeRequest[];
  /** Requests for answers of a model, without lists. */
  readonly questions: readonly ShapeRequest[];
  readonly models: readonly ShapedModel[];
  add(model: Partial<ShapedModel> & { id: string }): void;
  remove(id: string): void;
  load(id: string, contextTokens?: number): void;
  unload(id: string): void;
  /** H3. All its connections break. */
  stop(): Promise<void>;
  start(): Promise<void>;
  [Symbol.asyncDispose](): Promise<void>;
}

const DEFAULTS: ShapeSettings = {
  ...{
    mode: "ok",
    listMode: "ok",
    tokensPerSecond: 100_000,
    firstTokenMs: 0,
    words: ["alpha", " bravo", " charlie", " delta"],
    wordBytes: 0,
  },
  ...{ busy: 0, slots: 4, isSleeping: false, hasMetrics: true, hasSlots: true, isRouter: false, isOld: false, loadsOnDemand: true },
  apiKey: undefined,
};

export interface ShapeOptions extends Partial<ShapeSettings> {
  readonly models?: readonly (Partial<ShapedModel> & { id: string })[];
  /** 0 or absent: a free one. */
  readonly port?: number;
}

export async function startModelShape(shape: Shape, { models: given = [], port = 0, ...set }: ShapeOptions = {}): Promise<ModelShape> {
  const settings: ShapeSettings = { ...DEFAULTS, ...set };
  const models = given.map(modelOf);
  const requests: ShapeRequest[] = [];
  const stage: Stage = { shape, settings, models };
  let server: Server | undefined;
  let own = port;

  async function start(): Promise<void> {
    const next = createServer((request, response) => void answer(stage, request, response, requests));
    await new Promise<void>((resolve, reject) => next.once("error", reject).listen(own, "127.0.0.1", resolve));
    server = next;
    own = (next.address() as AddressInfo).port;
  }
  async function stop(): Promise<void> {
    const last = server;
    server = undefined;
    if (last === undefined) return;
    const closed = new Promise<void>((resolve) => last.close(() => resolve()));
    last.closeAllConnections();
    await closed;
  }
  const find = (id: string): ShapedModel => {
    const model = models.find((one) => one.id === id);
    if (model === undefined) throw new Error(`this ${shape} has no ${id}`);
    return model;
  };
  await start();
  return {
    ...{ shape, settings, requests, models, start, stop, port: own, url: `http://127.0.0.1:${own}` },
    get questions() {
      return requests.filter(({ path }) => path in QUESTIONS);
    },
    add: (model) => void models.push(modelOf(model)),
    remove: (id) => void models.splice(models.indexOf(find(id)), 1),
    load: (id, contextTokens) => void Object.assign(find(id), { state: "loaded", ...(contextTokens !== undefined && { contextTokens }) }),
    unload: (id) => void Object.assign(find(id), { state: "cold" }),
    [Symbol.asyncDispose]: stop,
  };
}

const modelOf = (given: Partial<ShapedModel> & { id: string }): ShapedModel => ({
  ...{ state: "loaded", contextTokens: 8_192, trainedTokens: 131_072, sizeBytes: 4_000_000_000, quantization: "Q4_K_M" },
  ...{ digest: Buffer.from(given.id).toString("hex").padEnd(64, "0").slice(0, 64), tools: true, vision: false, embeddings: false },
  ...given,
});

const SERVER_NAMES: Partial<Record<Shape, string>> = { llamacpp: "llama.cpp", vllm: "uvicorn", mlx: "BaseHTTP/0.6 Python/3.13.1" };
const PAGE = "<!doctype html><title>It works</title>";

async function answer(stage: Stage, request: IncomingMessage, response: ServerResponse, requests: ShapeRequest[]): Promise<void> {
  const { pathname, searchParams } = new URL(request.url ?? "/", "http://localhost");
  const record: ShapeRequest = {
    method: request.method ?? "",
    path: pathname,
    headers: request.headers,
    at: Date.now(),
    aborted: false,
    bytes: 0,
    body: undefined,
  };
  requests.push(record);
  response.once("close", () =>
    Object.assign(record, { closedAt: Date.now(), aborted: !response.writableFinished && stage.settings.mode !== "dieMidStream" }),
  );
  Object.assign(record, { body: await bodyOf(request).catch(() => undefined) });
  const { settings, shape } = stage;
  const name = SERVER_NAMES[shape];
  if (name !== undefined) response.setHeader("server", name);
  const question = request.method === "POST" && shape !== "stranger" ? QUESTIONS[pathname] : undefined;
  const mode = question === undefined ? settings.listMode : settings.mode;
  if (mode === "stall") return;
  if (mode === "garbage" || shape === "stranger") return void response.writeHead(200, { "content-type": "text/html" }).end(PAGE);
  if (settings.apiKey !== undefined && request.headers.authorization !== `Bearer ${settings.apiKey}`)
    return send(response, refusal(401, "a key is needed"));
  if (question === undefined)
    return send(response, LISTS[shape](stage, pathname, searchParams, record.body ?? {}) ?? { status: 404, json: { error: "not found" } });
  if (mode === "error") return send(response, refusal(500, "scripted failure"));
  const refused = refuse(stage, record.body ?? {});
  if (refused !== undefined) return send(response, refused);
  await question(stage, record.body ?? {}, response, record);
}

async function bodyOf(request: IncomingMessage): Promise<Json | undefined> {
  const pieces: Buffer[] = [];
  for await (const piece of request as AsyncIterable<Buffer>) pieces.push(piece);
  return pieces.length === 0 ? undefined : (JSON.parse(Buffer.concat(pieces).toString()) as Json);
}

/** A single llama-server answers to any name; a request loads a cold model. */
function refuse({ shape, settings, models }: Stage, { model }: Json): Reply | undefined {
  const found = shape === "llamacpp" && !settings.isRouter ? models[0] : models.find(({ id }) => id === model);
  if (found === undefined || (shape === "lmstudio" && found.state === "cold" && !settings.loadsOnDemand))
    return refusal(404, `model '${String(model)}' not found`);
  found.state = "loaded";
  return undefined;
}
