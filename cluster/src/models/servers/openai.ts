/**
 * What any server has that speaks OpenAI's API and says no more of itself, MLX's (mlx_lm.server) among them.
 *
 * P1. That API tells names and nothing else. What some servers add (SGLang, LocalAI, TabbyAPI, routers) is taken where it is there.
 * P2. MLX holds one model at a time and lists all that lie in its cache; where it lists several, the first request may have to load.
 */
import { z } from "zod";
import { count, eachOf, EMBEDDER, looksLikeEmbedder, mustRead, offerOf, quantizationIn, readAs, text, type Lister } from "./reading.ts";
import type { Heard, ModelServer } from "./model-server.ts";

const Entry = z.object({ id: z.string().min(1), object: text, max_model_len: count, context_length: count, context_window: count });
const Models = z.object({ data: eachOf(Entry) });

/** At least one model by OpenAI's form; anybody's list has a `data`. */
export const isOpenAi = (models: Heard): boolean => readAs(Models, models)?.data.some(({ object }) => object === "model") === true;

/** mlx_lm.server is made of Python's own HTTP server, which no other known one is; mlx-omni-server serves MLX's models only. */
export const isMlx = (models: Heard): boolean =>
  isOpenAi(models) &&
  (/^BaseHTTP\/.*Python/.test(models.server) || readAs(Models, models)?.data.every(({ id }) => /^mlx-community\//i.test(id)) === true);

export function openAiLister(server: ModelServer, endpoint: string, kind: "openai" | "mlx"): Lister {
  return async () => {
    const { data } = mustRead(Models, await server.hear("/v1/models"), "the list of models");
    return data.flatMap(({ id, max_model_len, context_length, context_window }) =>
      offerOf({
        ...{ id, endpoint, server: kind, digest: undefined, sizeBytes: undefined, slots: undefined },
        quantization: quantizationIn(id),
        contextTokens: max_model_len ?? context_length ?? context_window,
        can: looksLikeEmbedder(id) ? EMBEDDER : { chat: true, tools: true, vision: false, json: kind !== "mlx", embeddings: false },
        // P2
        state: kind === "mlx" && data.length > 1 ? "cold" : "loaded",
      }),
    );
  };
}
