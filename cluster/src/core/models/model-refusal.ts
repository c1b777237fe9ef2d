/**
 * Why nobody answers a request, in one sentence, out of the reasons of every place that was passed over.
 *
 * W1. The reason that is nearest to an answer is told: a place that would do in 30 seconds before one that is forbidden,
 *     that before one whose context is too small, and that before those that can not.
 */
import type { LentModel } from "@openclaw-cluster/contract/models";
import type { Misfit, ModelNeeds } from "./model-needs.ts";
import { placeName } from "./place.ts";

/** A place that is not among the candidates. */
export type PassedOver = { readonly model: LentModel } & (
  | Misfit
  | { readonly code: "forbidden"; readonly detail: string }
  | { readonly code: "breaker_open"; readonly detail: string; readonly waitMs: number }
);

export type ModelRefusal =
  | { readonly reason: "all_breakers_open"; readonly detail: string; readonly retryAfterMs: number }
  | { readonly reason: "forbidden"; readonly detail: string }
  | { readonly reason: "context_too_small"; readonly detail: string; readonly neededTokens: number; readonly largestTokens: number }
  | { readonly reason: "unable"; readonly detail: string; readonly lacks: Lack };

/** As whoever asked is told, in HTTP's and OpenAI's words. */
export const REFUSED_AS: Readonly<Record<ModelRefusal["reason"], { readonly status: number; readonly code: string }>> = {
  all_breakers_open: { status: 503, code: "node_lost" },
  forbidden: { status: 403, code: "policy_denied" },
  context_too_small: { status: 400, code: "context_length_exceeded" },
  unable: { status: 400, code: "unsupported" },
};

export type Lack = "chat" | "embeddings" | "tools" | "vision" | "json";

export function refuse(passedOver: readonly PassedOver[], needs: ModelNeeds): ModelRefusal {
  const open = passedOver.filter((one) => one.code === "breaker_open");
  if (open.length > 0) {
    const retryAfterMs = Math.min(...open.map(({ waitMs }) => waitMs));
    return { reason: "all_breakers_open", detail: `${open.map(told).join("; ")}`, retryAfterMs };
  }
  const forbidden = passedOver.find(({ code }) => code === "forbidden");
  if (forbidden !== undefined) return { reason: "forbidden", detail: told(forbidden) };
  const small = passedOver.filter((one) => one.code === "context_too_small").toSorted((a, b) => b.contextTokens - a.contextTokens)[0];
  if (small !== undefined) {
    const { contextTokens: largestTokens } = small;
    const neededTokens = needs.contextTokens;
    const detail = `the request takes about ${neededTokens} tokens, and the largest context is that of ${placeName(small.model)}, ${largestTokens}`;
    return { reason: "context_too_small", detail, neededTokens, largestTokens };
  }
  const unable = passedOver[0];
  return { reason: "unable", detail: unable === undefined ? "no node lends a model" : told(unable), lacks: lackOf(unable?.code) };
}

function lackOf(code: PassedOver["code"] | undefined): Lack {
  switch (code) {
    case "no_embeddings":
      return "embeddings";
    case "no_tools":
      return "tools";
    case "no_vision":
      return "vision";
    case "no_json":
      return "json";
    default:
      return "chat";
  }
}

const told = ({ model, detail }: PassedOver): string => `${placeName(model)} ${detail}`;
