/** The Gateway's last answer to `agent`, as the end of a turn. */
import { GatewayClientRequestError } from "@openclaw/gateway-client";
import { ClusterError } from "@openclaw-cluster/contract/errors";
import { Json } from "@openclaw-cluster/contract/json";
import { z } from "zod";
import type { TurnEnd } from "./openclaw.ts";

const Meta = z.looseObject({
  agentMeta: z.looseObject({ provider: z.string().optional(), model: z.string().optional(), usage: Json.optional() }).catch({}),
  toolSummary: z.looseObject({ calls: z.number().catch(0) }).catch({ calls: 0 }),
});

export const AgentAnswer = z.looseObject({
  status: z.string(),
  summary: z.string().optional(),
  stopReason: z.string().optional(),
  result: z
    .looseObject({
      payloads: z.array(z.looseObject({ text: z.string().nullish() })).catch([]),
      meta: Meta.catch({ agentMeta: {}, toolSummary: { calls: 0 } }),
    })
    .optional(),
});

const RunPayload = z.looseObject({ runId: z.string() });

/** undefined: the run goes on; another connection began it. */
export function readAgentAnswer(answer: z.infer<typeof AgentAnswer>, sessionKey: string): TurnEnd | undefined {
  const { status, summary, stopReason, result } = answer;
  if (status === "in_flight") return undefined;
  const text = (result?.payloads ?? []).flatMap((payload) => payload.text ?? []).join("\n\n");
  if (status === "ok") return doneTurn(sessionKey, text, { ...result?.meta.agentMeta, toolCalls: result?.meta.toolSummary.calls ?? 0 });
  // `timeout` stands for an abort too; only the reason tells them apart.
  if (stopReason === "rpc") return { kind: "aborted" };
  return { kind: "failed", code: status === "timeout" ? "run_timeout" : "agent_failed", message: text || (summary ?? status) };
}

/** A run that began and failed is answered as an error, with the run in its payload. */
export function runFailure(error: unknown): TurnEnd | undefined {
  if (!(error instanceof ClusterError && error.cause instanceof GatewayClientRequestError)) return undefined;
  const began = RunPayload.safeParse(error.cause.responsePayload).success;
  return began ? { kind: "failed", code: "agent_failed", message: error.cause.message } : undefined;
}

interface RunMeta {
  readonly provider?: string | undefined;
  readonly model?: string | undefined;
  readonly usage?: Json | undefined;
  readonly toolCalls: number;
}

export function doneTurn(sessionKey: string, text: string, { provider, model, usage, toolCalls }: RunMeta): TurnEnd {
  const known = {
    ...(provider !== undefined && { provider }),
    ...(model !== undefined && { model }),
    ...(usage !== undefined && { usage }),
  };
  return { kind: "done", text, meta: { ...known, sessionKey, toolCalls } };
}
