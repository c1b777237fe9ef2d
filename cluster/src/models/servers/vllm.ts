/**
 * What a vLLM serves: models that are always loaded, and their LoRA adapters. https://docs.vllm.ai
 *
 * V1. It tells how many requests run, but nowhere how many could: it takes as many as its cache holds, which depends on their length. So
 *     there are no slots to tell, and its metrics (100 KB and more) are not read at each look.
 * V2. It tells no abilities. Tools need a switch at its start that cannot be seen; whoever serves agents has set it.
 */
import { z } from "zod";
import { count, eachOf, EMBEDDER, looksLikeEmbedder, mustRead, offerOf, quantizationIn, readAs, text, type Lister } from "./reading.ts";
import type { Heard, ModelServer } from "./model-server.ts";

const Entry = z.object({ id: z.string().min(1), owned_by: text, root: text, parent: text, max_model_len: count });
const Models = z.object({ data: eachOf(Entry) });
const Version = z.object({ version: z.string() });

/** By the list of its models alone. SGLang, which lists alike, names itself. */
export const isVllmList = (models: Heard): boolean => readAs(Models, models)?.data.some((entry) => entry.owned_by === "vllm") === true;

/** By its version, and what it counts or, where that is switched off, the length that it tells with its models. */
export function isVllm(models: Heard, version: Heard, metrics: Heard | undefined): boolean {
  if (readAs(Version, version) === undefined) return false;
  if (metrics?.status === 200) return /^vllm:/m.test(metrics.text);
  return readAs(Models, models)?.data.some((entry) => entry.max_model_len !== undefined) === true;
}

export function vllmLister(server: ModelServer, endpoint: string): Lister {
  return async () => {
    const { data } = mustRead(Models, await server.hear("/v1/models"), "the list of models");
    return data.flatMap(({ id, root, parent, max_model_len: own }) => {
      const base = data.find((entry) => entry.id === parent);
      return offerOf({
        ...{ id, endpoint, server: "vllm", state: "loaded", digest: undefined, sizeBytes: undefined },
        quantization: quantizationIn(id) ?? quantizationIn(root ?? "") ?? quantizationIn(base?.root ?? ""),
        contextTokens: own ?? base?.max_model_len,
        // V2
        can: looksLikeEmbedder(id) ? EMBEDDER : { chat: true, tools: true, vision: false, json: true, embeddings: false },
        // V1
        slots: undefined,
      });
    });
  };
}
