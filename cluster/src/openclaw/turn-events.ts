/**
 * The Gateway's agent events of one run, turned into ours. Text comes as the whole message so far, so a gap in the
 * connection heals with the next event; tool calls come twice, as `tool` to the connection that began the run and as
 * `item`, without arguments and results, to every other.
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

export class TurnStream {
  readonly #emit: (event: TurnEvent) => void;
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
