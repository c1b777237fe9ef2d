/**
 * What an LM Studio has. https://lmstudio.ai/docs/developer/rest
 *
 * S1. A model that is not loaded is offered only where a request would load it. Whether so is a switch of LM Studio's that its lists of
 *     models show by one difference: /v1/models names all models when it is on, and those that are loaded when it is off.
 * S2. How many requests it works at is not told, only how many it can; so `busy` is 0 here, and whoever asks counts his own.
 * S3. Of a cold model the context is told only as it was last loaded; what it was trained with is far more than it gets.
 */
import { z } from "zod";
import {
  count,
  eachOf,
  EMBEDDER,
  fingerprintOf,
  flag,
  maybe,
  mustRead,
  offerOf,
  readAs,
  text,
  type Known,
  type Lister,
} from "./reading.ts";
import { ModelFault } from "../models.ts";
import type { Heard, ModelServer } from "./model-server.ts";

const Instance = z.object({ id: text, config: maybe(z.object({ context_length: count, parallel: count })) });
/** From 0.4 on. */
const Model = z.object({
  key: z.string().min(1),
  type: text,
  publisher: text,
  quantization: maybe(z.object({ name: text })),
  size_bytes: count,
  loaded_instances: eachOf(Instance),
  capabilities: maybe(z.object({ vision: flag, trained_for_tool_use: flag })),
});
const Models = z.object({ models: eachOf(Model) });
/** From 0.3.6 on. */
const OldModel = z.object({
  id: z.string().min(1),
  type: text,
  publisher: text,
  quantization: text,
  state: text,
  loaded_context_length: count,
  capabilities: maybe(z.array(z.string())),
});
const OldModels = z.object({ data: eachOf(OldModel) });
const Named = z.object({ data: eachOf(z.object({ id: z.string() })) });

/** The newer list may be empty: nobody else answers at that path with `models`. */
export const isLmStudio = (heard: Heard): boolean => {
  const { json } = heard;
  // Ollama's and llama-server's lists have the same outer form; an entry tells them apart.
  if (readAs(z.object({ data: z.array(OldModel.extend({ type: z.string(), state: z.string() })).min(1) }), heard)) return true;
  return (
    heard.status === 200 &&
    z.object({ models: z.array(z.object({ key: z.string(), loaded_instances: z.array(z.unknown()) })) }).safeParse(json).success
  );
};

export function lmStudioLister(server: ModelServer, endpoint: string): Lister {
  let isOld = false;
  /** S3. By model. */
  const contexts = new Map<string, number>();

  async function list(): Promise<Known[]> {
    if (!isOld) {
      const heard = await server.hear("/api/v1/models");
      const models = readAs(Models, heard)?.models;
      if (models !== undefined) return models.map((model) => knownOf(model, endpoint));
      if (heard.status >= 500) throw new ModelFault("garbage", `the list of models fails with status ${heard.status}`);
    }
    // What it does not know it answers too, with status 200 and a line in its log; so it is asked that once.
    const { data } = mustRead(OldModels, await server.hear("/api/v0/models"), "the list of models");
    isOld = true;
    return data.map((model) => knownOfOld(model, endpoint));
  }

  return async () => {
    const [models, named] = await Promise.all([list(), server.hear("/v1/models")]);
    // S1
    const ids = new Set(mustRead(Named, named, "the list of OpenAI's kind").data.map(({ id }) => id));
    return models
      .filter(({ id, state }) => state !== "cold" || ids.has(id))
      .flatMap((model) => {
        if (model.contextTokens !== undefined) contexts.set(model.id, model.contextTokens);
        return offerOf({ ...model, contextTokens: contexts.get(model.id) });
      });
  };
}

function knownOf(model: z.output<typeof Model>, endpoint: string): Known {
  const { key, type, publisher, quantization, size_bytes: sizeBytes, loaded_instances: instances, capabilities } = model;
  // Several can be loaded; a request by the model's name goes to the one that bears it.
  const instance = instances.find(({ id }) => id === key) ?? instances[0];
  const parallel = instance?.config?.parallel;
  const talks = { chat: true, json: true, embeddings: false };
  return {
    ...{ id: key, endpoint, server: "lmstudio", state: instance === undefined ? "cold" : "loaded", sizeBytes },
    digest: fingerprintOf("lmstudio", publisher, key, quantization?.name, sizeBytes),
    quantization: quantization?.name,
    contextTokens: instance?.config?.context_length,
    can: isEmbedder(type)
      ? EMBEDDER
      : { ...talks, tools: capabilities?.trained_for_tool_use ?? true, vision: capabilities?.vision ?? false },
    // S2
    slots: parallel === undefined ? undefined : { total: parallel, busy: 0 },
  };
}

function knownOfOld(model: z.output<typeof OldModel>, endpoint: string): Known {
  const { id, type, publisher, quantization, state, loaded_context_length: contextTokens, capabilities } = model;
  const talks = { chat: true, json: true, embeddings: false, vision: type === "vlm" };
  return {
    ...{ id, endpoint, server: "lmstudio", quantization, sizeBytes: undefined, slots: undefined },
    digest: fingerprintOf("lmstudio", publisher, id, quantization),
    state: state === "loaded" || state === "loading" ? state : "cold",
    contextTokens: state === "loaded" ? contextTokens : undefined,
    can: isEmbedder(type) ? EMBEDDER : { ...talks, tools: capabilities?.includes("tool_use") ?? true },
  };
}

/** `embedding` today, `embeddings` before. */
const isEmbedder = (type: string | undefined): boolean => type?.startsWith("embedding") === true;
