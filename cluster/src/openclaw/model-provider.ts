/**
 * The models of all nodes as a provider of OpenClaw's, as it stands in OpenClaw's settings: `models.providers.cluster`.
 *
 * P1. It is ours by our key in it, and by nothing else: another provider of that name is never taken for ours.
 * P2. What a person has added to ours (a model, a header, a longer time) stays when it is written anew.
 */
import { z } from "zod";
import type { Path } from "./settings-edit.ts";

export const PROVIDER = "cluster";
export const PROVIDER_PATH: Path = ["models", "providers", PROVIDER];
/** How keys of nodes' endpoints begin. */
const KEY_BEGINS = "ocm_";
/** OpenClaw's own prompt with its usual tools takes 15,000 tokens; with fewer than these little is left for a conversation. */
export const CONTEXT_TOKENS_MIN = 24_000;
/** Where it is not known: what servers at home are often set to, and enough for that prompt. */
export const CONTEXT_TOKENS_DEFAULT = 32_768;
const OUTPUT_TOKENS_MAX = 8_192;
/** Of the context, at most so much for the answer. */
const OUTPUT_SHARE = 4;
/** A cold model of 40 GB, and a long prompt to read: seconds until something comes. */
const TIMEOUT_S = 300;

/** What follows is written over it. */
const MODEL = { id: "", name: "", input: ["text"], contextWindow: 0, maxTokens: 0, compat: { supportsTools: true } };

const Model = z.looseObject({ id: z.string(), contextWindow: z.number().optional() });
export const Provider = z.looseObject({ baseUrl: z.string().optional(), apiKey: z.unknown(), models: z.array(Model).optional() });
export type Provider = z.infer<typeof Provider>;

export interface WishedModel {
  readonly id: string;
  /** The most that a request for it can have anywhere; undefined: not told. */
  readonly contextTokens?: number;
}

export interface WishedProvider {
  /** With /v1. */
  readonly baseUrl: string;
  readonly apiKey: string;
  readonly models: readonly WishedModel[];
}

/** `before`: what is there, where it is ours (P2). */
export function makeProvider({ baseUrl, apiKey, models }: WishedProvider, before?: Provider): Provider {
  const known = before?.models ?? [];
  const wished = models.map(({ id, contextTokens }) => {
    const own = known.find((model) => model.id === id);
    const contextWindow = contextTokens ?? own?.contextWindow ?? CONTEXT_TOKENS_DEFAULT;
    const maxTokens = Math.min(OUTPUT_TOKENS_MAX, Math.floor(contextWindow / OUTPUT_SHARE));
    return { ...MODEL, ...own, id, name: own?.["name"] ?? `Cluster ${id}`, contextWindow, maxTokens };
  });
  const further = known.filter(({ id }) => models.every((model) => model.id !== id));
  const own = { baseUrl, apiKey, api: "openai-completions", timeoutSeconds: TIMEOUT_S };
  return { ...own, ...before, baseUrl, apiKey, api: own.api, models: [...wished, ...further] };
}

/** P1. */
export const isOurs = ({ apiKey }: Provider): boolean => typeof apiKey === "string" && apiKey.startsWith(KEY_BEGINS);

/** For people: without what is secret in it. */
export function masked(provider: Provider): Provider {
  const { apiKey } = provider;
  if (typeof apiKey !== "string") return provider;
  return { ...provider, apiKey: apiKey.startsWith(KEY_BEGINS) ? `${KEY_BEGINS}…` : "…" };
}

/** Where else the settings name a model of it: `agents.defaults.model.primary`. */
export function usesOf(settings: unknown, place: readonly string[] = []): readonly string[] {
  if (typeof settings === "string") return settings.startsWith(`${PROVIDER}/`) ? [place.join(".")] : [];
  if (typeof settings !== "object" || settings === null) return [];
  return Object.entries(settings).flatMap(([name, value]) => {
    const at = [...place, name];
    return name.startsWith(`${PROVIDER}/`) ? [at.join(".")] : usesOf(value, at);
  });
}
