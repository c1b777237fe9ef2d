/**
 * Where a model can be asked: a node, one of its endpoints, and the model's id there. Everything that the router learns or
 * limits (rates, caches, queues, breakers) is kept by place.
 *
 * P1. Two places never share a key, whatever characters an endpoint's or a model's name holds.
 */
import type { LentModel, ModelServerKind } from "@openclaw-cluster/contract/models";

export type Place = Pick<LentModel, "node" | "endpoint" | "id">;
export type PlaceKey = string;

/** P1: quoted, because names may hold any separator. */
export function placeKey({ node, endpoint, id }: Place): PlaceKey {
  return JSON.stringify([node, endpoint, id]);
}

/** As a person reads it, and as it can be asked for. */
export function placeName({ node, id }: Pick<Place, "node" | "id">): string {
  return `${id}@${node}`;
}

/**
 * Requests side by side where the server does not tell. A llama.cpp server answers one unless it was started with
 * `--parallel`, and mlx_lm.server works one off after another. Ollama and LM Studio give a model up to four by themselves;
 * vLLM batches hundreds, of which a home machine's cache holds about sixteen. What merely speaks OpenAI's API is taken to
 * be like the middle of them.
 */
const SLOTS_DEFAULT: Readonly<Record<ModelServerKind, number>> = { llamacpp: 1, mlx: 1, ollama: 4, lmstudio: 4, openai: 4, vllm: 16 };

export function slotsOf({ server, slots }: Pick<LentModel, "server" | "slots">): number {
  return slots?.total ?? SLOTS_DEFAULT[server];
}
