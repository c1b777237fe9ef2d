/**
 * The Gateway's agent events of one run, turned into ours. Text comes as the whole message so far, so a gap in the
 * connection heals with the next event; tool calls come twice, as `tool` to the connection that began the run and as
 * `item`, without arguments and results, to every other. Why a model failed is told by the run's `lifecycle` alone, and
 * how long OpenClaw waits before it asks again by `run_status`: answers and records have no more than a sentence of it.
 */
import type { Json } from "@openclaw-cluster/contract/json";
import { Json as JsonSchema } from "@openclaw-cluster/contract/json";
import { z } from "zod";
import type { TurnEvent } from "./openclaw.ts";

/** Of a tool's arguments and of its result; the whole is in OpenClaw's own transcript. */
const DATA_CHARS_MAX = 8_192;

const AgentEvent = z.looseObject({ runId: z.string(), stream: z.string(), data: z.looseObject({}) });
const TextData = z.looseObject({ text: z.string(), itemId: z.string().optional() });
const ToolData = z.looseObject({
  phase: z.string(),
  name: z.string(),
  toolCallId: z.string(),
  args: JsonSchema.optional(),
  isError: z.boolean().catch(false),
  result: z.looseObject({ content: z.array(z.looseObject({ text: z.string().optional() })).catch([]) }).optional(),
});
const ItemData = z.looseObject({
  kind: z.literal("tool"),
  phase: z.string(),
  name: z.string(),
  toolCallId: z.string(),
  status: z.string().optional(),
});

/** `failoverReason` is OpenClaw's own class of the provider's answer: rate_limit for HTTP 429, overloaded, auth, billing, format … */
const LifecycleData = z.looseObject({
  phase: z.string(),
  errorObservation: z.looseObject({ failoverReason: z.string().optional() }).optional().catch(undefined),
});
const RetryingData = z.looseObject({ phase: z.literal("retrying"), reason: z.string(), delayMs: z.number().min(0) });

const THROTTLED: ReadonlySet<string> = new Set(["rate_limit", "overloaded"]);

/** Why the run's model failed, as far as it was told while we listened. */
export interface ModelFault {
  readonly reason: string;
  readonly throttled: boolean;
  /** The last pause before OpenClaw asked again. It does not say whether the provider asked for that, or its own patience. */
  readonly pauseMs?: number;
}

export class TurnStream {
  /** OpenClaw waits for so long because its provider throttles it; called at the beginning of each wait. */
  onThrottled: (pauseMs: number) => void = () => undefined;
  fault: ModelFault | undefined;
  readonly #emit: (event: TurnEvent) => void;
  #pauseMs: number | undefined;
  readonly #started = new Set<string>();
  readonly #ended = new Set<string>();
  #itemId: string | undefined;
  #text = "";

  constructor(emit: (event: TurnEvent) => void) {
    this.#emit = emit;
  }

  /** Takes the payload of an `agent` event; those of other runs are passed over. `began`: by this connection. */
  take(payload: unknown, run: { readonly id: string; readonly began: boolean }): void {
    const event = AgentEvent.safeParse(payload);
    if (!event.success || event.data.runId !== run.id) return;
    const { stream, data } = event.data;
    if (stream === "assistant") this.#takeText(data);
    else if (stream === "tool") this.#takeTool(data);
    else if (stream === "item" && !run.began) this.#takeItem(data);
    else if (stream === "lifecycle") this.#takeLifecycle(data);
    else if (stream === "run_status") this.#takeStatus(data);
  }

  /** A call that was seen in the transcript: it may have come while nobody listened. */
  toolSeen(call: { callId: string; name: string }): void {
    this.#start(call.callId, call.name);
  }

  get toolCalls(): number {
    return this.#started.size;
  }

  #takeText(data: unknown): void {
    const parsed = TextData.safeParse(data);
    if (!parsed.success) return;
    const { text, itemId } = parsed.data;
    const known = itemId === this.#itemId ? this.#text : "";
    // A new message of the agent, or a corrected one, begins on a line of its own.
    const fresh = this.#text !== "" && (known === "" || !text.startsWith(known));
    const delta = text.startsWith(known) ? text.slice(known.length) : text;
    this.#itemId = itemId;
    this.#text = text;
    if (delta !== "") this.#emit({ kind: "text", delta: fresh ? `\n${delta}` : delta });
  }

  /** A try that failed ends with `finishing`, the run with `error`; each further try begins with `start`. */
  #takeLifecycle(data: unknown): void {
    const { phase, errorObservation } = LifecycleData.safeParse(data).data ?? {};
    const reason = errorObservation?.failoverReason;
    if (phase === "start") this.fault = undefined;
    if (phase !== "error" || reason === undefined) return;
    this.fault = { reason, throttled: THROTTLED.has(reason), ...(this.#pauseMs !== undefined && { pauseMs: this.#pauseMs }) };
  }

  #takeStatus(data: unknown): void {
    const parsed = RetryingData.safeParse(data);
    if (!parsed.success || !THROTTLED.has(parsed.data.reason)) return;
    this.#pauseMs = Math.ceil(parsed.data.delayMs);
    this.onThrottled(this.#pauseMs);
  }

  #takeTool(data: unknown): void {
    const parsed = ToolData.safeParse(data);
    if (!parsed.success) return;
    const { phase, name, toolCallId, args, isError, result } = parsed.data;
    if (phase === "start") this.#start(toolCallId, name, args);
    if (phase === "result") this.#end(toolCallId, name, { isError, text: cut(textOf(result)) });
  }

  #takeItem(data: unknown): void {
    const parsed = ItemData.safeParse(data);
    if (!parsed.success) return;
    const { phase, name, toolCallId, status } = parsed.data;
    if (phase === "start") this.#start(toolCallId, name);
    if (phase === "end") this.#end(toolCallId, name, { isError: status !== "completed" });
  }

  #start(callId: string, name: string, args?: Json): void {
    if (this.#started.has(callId)) return;
    this.#started.add(callId);
    this.#emit({ kind: "tool", phase: "start", name, callId, ...(args !== undefined && { data: short(args) }) });
  }

  #end(callId: string, name: string, data: Json): void {
    if (this.#ended.has(callId)) return;
    this.#ended.add(callId);
    this.#emit({ kind: "tool", phase: "result", name, callId, data });
  }
}

function textOf(result: z.infer<typeof ToolData>["result"]): string {
  return (result?.content ?? []).flatMap((part) => (part.text === undefined ? [] : [part.text])).join("\n");
}

function short(args: Json): Json {
  const text = JSON.stringify(args);
  return text.length <= DATA_CHARS_MAX ? args : cut(text);
}

function cut(text: string): string {
  return text.length <= DATA_CHARS_MAX ? text : `${text.slice(0, DATA_CHARS_MAX)}… (${text.length} characters)`;
}
