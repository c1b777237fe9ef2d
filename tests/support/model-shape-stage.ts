/** What a scripted model server is made of (model-shapes.ts): its models, its settings, what it keeps of requests, and plain answers. */
import type { IncomingMessage, ServerResponse } from "node:http";

export type Shape = "ollama" | "lmstudio" | "llamacpp" | "vllm" | "mlx" | "openai" | "stranger";

/** stall: takes the request and says nothing. stallMidStream: stops after two words. garbage: a web page. endless: never stops. dieMidStream: the connection breaks after two words. */
export type ShapeMode = "ok" | "garbage" | "stall" | "stallMidStream" | "endless" | "dieMidStream" | "error";

export interface ShapedModel {
  readonly id: string;
  state: "loaded" | "loading" | "cold";
  /** As it is loaded. */
  contextTokens: number;
  /** What Ollama's file sets for it. */
  readonly numCtx?: number;
  readonly trainedTokens: number;
  readonly sizeBytes: number;
  readonly quantization: string;
  readonly digest: string;
  /** llama-server: of its file, without a folder; its id, unless said. */
  readonly file?: string;
  readonly tools: boolean;
  readonly vision: boolean;
  readonly embeddings: boolean;
  /** Ollama: it runs in somebody's cloud. */
  readonly remoteHost?: string;
}

export interface ShapeRequest {
  readonly method: string;
  readonly path: string;
  readonly headers: IncomingMessage["headers"];
  /** undefined: none, or no JSON. */
  readonly body: Record<string, unknown> | undefined;
  readonly at: number;
  closedAt?: number;
  /** The client closed the connection before the answer was whole. */
  aborted: boolean;
  /** Bytes of the answer that were handed to the connection. */
  bytes: number;
}

/** What a test may change at any moment. */
export interface ShapeSettings {
  /** Of questions: chat, responses, embeddings. */
  mode: ShapeMode;
  /** Of lists and all else. */
  listMode: "ok" | "garbage" | "stall";
  tokensPerSecond: number;
  firstTokenMs: number;
  words: readonly string[];
  /** Bytes that each word is blown up to. */
  wordBytes: number;
  /** How many requests of others it works at. */
  busy: number;
  slots: number;
  /** llama-server */
  isSleeping: boolean;
  hasMetrics: boolean;
  hasSlots: boolean;
  isRouter: boolean;
  /** LM Studio: the lists of before 0.4; and whether a request loads a model. */
  isOld: boolean;
  loadsOnDemand: boolean;
  /** What it asks for as a key. */
  apiKey: string | undefined;
}

export interface Stage {
  readonly shape: Shape;
  readonly settings: ShapeSettings;
  readonly models: readonly ShapedModel[];
}
export type Json = Record<string, unknown>;
export interface Reply {
  readonly status?: number;
  readonly json?: unknown;
  readonly text?: string;
}

export const refusal = (status: number, message: string): Reply => ({
  status,
  json: { error: { message, type: "server_error", code: status } },
});

export function send(response: ServerResponse, { status = 200, json, text }: Reply): void {
  response.writeHead(status, { "content-type": text === undefined ? "application/json" : "text/plain" });
  response.end(text ?? JSON.stringify(json));
}
