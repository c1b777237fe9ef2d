/**
 * What the Gateway knows of a run, whichever connection or process began it: its task ledger says whether there is such a
 * run and how it stands, `agent.wait` whether this Gateway process has seen its end, the transcript what was said.
 * The first answer of `agent` cannot be asked again instead: after five minutes, or a restart, the same key runs anew.
 */
import type { Json } from "@openclaw-cluster/contract/json";
import { Json as JsonSchema } from "@openclaw-cluster/contract/json";
import { z } from "zod";
import type { Connection } from "./connection.ts";

export interface RunState {
  readonly status: "running" | "completed" | "failed" | "cancelled" | "timed_out";
  readonly error?: string;
}

/** What `agent.wait` says. `open`: still running, or this Gateway process does not know the run. */
type Waited =
  | { readonly kind: "open" }
  | { readonly kind: "ok" }
  | { readonly kind: "aborted" }
  | { readonly kind: "failed" | "timed_out"; readonly error: string };

export interface RunText {
  /** The last thing the agent said. */
  readonly text: string;
  readonly model?: string;
  readonly provider?: string;
  readonly usage?: Json;
  readonly tools: readonly { readonly callId: string; readonly name: string }[];
  /** After a restart the Gateway takes an interrupted turn up again by itself, as a run of another id. */
  readonly resumedAs?: string;
}

const Ledger = z.looseObject({
  tasks: z.array(
    z.looseObject({
      runId: z.string().optional(),
      status: z.enum(["queued", "running", "completed", "failed", "cancelled", "timed_out"]).catch("running"),
      error: z.string().optional(),
    }),
  ),
});

const WaitAnswer = z.looseObject({
  status: z.string(),
  stopReason: z.string().optional(),
  endedAt: z.number().optional(),
  error: z.string().optional(),
});

const Part = z.looseObject({ type: z.string(), text: z.string().optional(), id: z.string().optional(), name: z.string().optional() });
const Message = z.looseObject({
  role: z.string(),
  content: z.union([z.string(), z.array(Part)]).catch(""),
  provider: z.string().optional(),
  model: z.string().optional(),
  usage: JsonSchema.optional(),
  idempotencyKey: z.string().optional(),
  provenance: z.looseObject({ sourceTool: z.string().optional() }).optional(),
  __openclaw: z.looseObject({ runId: z.string().optional() }).optional(),
});
export const History = z.looseObject({ messages: z.array(Message) });
export type History = z.infer<typeof History>;

/** Newest first; a session of several tasks can hold more, and an older run than these is over for long. */
const LEDGER_ROWS_MAX = 100;
const HISTORY_MESSAGES_MAX = 200;
/** The Gateway's own limit; unless asked it cuts every text at 8,000 characters. */
const HISTORY_TEXT_CHARS_MAX = 500_000;
/** Beyond its own limit `agent.wait` may need this long to answer. */
const WAIT_MARGIN_MS = 10_000;
const RESUMED = "main_session_restart_recovery";

/** undefined: the Gateway has no record of it. */
export async function runState(connection: Connection, sessionKey: string, runId: string): Promise<RunState | undefined> {
  const { tasks } = await connection.request("tasks.list", { sessionKey, limit: LEDGER_ROWS_MAX }, Ledger);
  const row = tasks.find((task) => task.runId === runId);
  if (row === undefined) return undefined;
  const status = row.status === "queued" ? "running" : row.status;
  return { status, ...(row.error !== undefined && { error: row.error }) };
}

/** Answers as soon as the run has ended, else after `timeoutMs`. */
export async function waitForRun(connection: Connection, runId: string, timeoutMs: number, signal?: AbortSignal): Promise<Waited> {
  const limits = { timeoutMs: timeoutMs + WAIT_MARGIN_MS, ...(signal && { signal }) };
  return readWait(await connection.request("agent.wait", { runId, timeoutMs }, WaitAnswer, limits));
}

/** `timeout` alone says nothing about the run; with `endedAt` it is the run's own time-out. `rpc`: somebody stopped it. */
export function readWait({ status, stopReason, endedAt, error }: z.infer<typeof WaitAnswer>): Waited {
  if (status === "ok") return { kind: "ok" };
  if (endedAt === undefined) return { kind: "open" };
  if (stopReason === "rpc") return { kind: "aborted" };
  return { kind: status === "timeout" ? "timed_out" : "failed", error: error ?? stopReason ?? status };
}

export async function runText(connection: Connection, sessionKey: string, runId: string): Promise<RunText> {
  const page = { sessionKey, limit: HISTORY_MESSAGES_MAX, maxChars: HISTORY_TEXT_CHARS_MAX };
  return readHistory(await connection.request("chat.history", page, History), runId);
}

export function readHistory({ messages }: History, runId: string): RunText {
  const said = messages.filter((message) => message.role === "assistant" && message.__openclaw?.runId === runId);
  const tools = said
    .flatMap(({ content }) => (typeof content === "string" ? [] : content))
    .flatMap((part) => (part.type === "toolCall" ? [{ callId: part.id ?? "", name: part.name ?? "" }] : []));
  const last = said.findLast((message) => textOf(message) !== "");
  const resumedAs = resumptionOf(messages, runId);
  return {
    text: last === undefined ? "" : textOf(last),
    tools,
    ...(last?.model !== undefined && { model: last.model }),
    ...(last?.provider !== undefined && { provider: last.provider }),
    ...(last?.usage !== undefined && { usage: last.usage }),
    ...(resumedAs !== undefined && { resumedAs }),
  };
}

/** Runs of a session come one after the other, so it is the very next message to the agent or there is none. */
function resumptionOf(messages: History["messages"], runId: string): string | undefined {
  const asked = messages.findIndex((message) => message.idempotencyKey === `${runId}:user`);
  const next = asked < 0 ? undefined : messages.slice(asked + 1).find((message) => message.role === "user");
  return next?.provenance?.sourceTool === RESUMED ? next.idempotencyKey?.replace(/:user$/, "") : undefined;
}

function textOf({ content }: History["messages"][number]): string {
  if (typeof content === "string") return content;
  return content.flatMap((part) => (part.type === "text" && part.text !== undefined ? [part.text] : [])).join("\n");
}
