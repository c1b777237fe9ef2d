/** What scripted model servers say of their models: each what the real one says, where it says it, and nothing more (model-shapes.ts, H1). */
import { refusal, type Json, type Reply, type Shape, type ShapedModel, type Stage } from "./model-shape-stage.ts";

/** undefined: it does not know the path. */
type List = (stage: Stage, path: string, query: URLSearchParams, body: Json) => Reply | undefined;
const openAi = (models: readonly ShapedModel[], more: (model: ShapedModel) => Json): Reply => ({
  json: { object: "list", data: models.map((model) => ({ id: model.id, object: "model", created: 1_700_000_000, ...more(model) })) },
});

export const LISTS: Readonly<Record<Shape, List>> = {
  ollama({ models }, path, _query, body) {
    const tag = ({ id, sizeBytes: size, digest, quantization, remoteHost, embeddings }: ShapedModel): Json => ({
      ...{ name: id, model: id, modified_at: "2026-01-01T00:00:00Z", size, digest },
      details: {
        format: "gguf",
        family: embeddings ? "nomic-bert" : "llama",
        families: [embeddings ? "nomic-bert" : "llama"],
        quantization_level: quantization,
      },
      ...(remoteHost !== undefined && { remote_host: remoteHost, remote_model: id }),
    });
    if (path === "/api/version") return { json: { version: "0.12.6" } };
    if (path === "/api/tags") return { json: { models: models.map(tag) } };
    if (path === "/v1/models") return openAi(models, () => ({ owned_by: "library" }));
    if (path === "/api/ps")
      return {
        json: {
          models: models.filter(({ state }) => state === "loaded").map((one) => ({ ...tag(one), context_length: one.contextTokens })),
        },
      };
    const shown = path === "/api/show" ? models.find(({ id }) => id === body["model"]) : undefined;
    if (shown === undefined) return undefined;
    const can = [
      shown.embeddings ? "embedding" : "completion",
      ...(shown.tools && !shown.embeddings ? ["tools"] : []),
      ...(shown.vision ? ["vision"] : []),
    ];
    const parameters =
      shown.numCtx === undefined ? "" : `stop                           "<|im_end|>"\nnum_ctx                        ${shown.numCtx}`;
    return {
      json: {
        license: "MIT",
        parameters,
        capabilities: can,
        model_info: { "general.architecture": "llama", "llama.context_length": shown.trainedTokens },
      },
    };
  },
  lmstudio({ models, settings }, path) {
    const type = ({ embeddings, vision }: ShapedModel): string => (embeddings ? "embedding" : vision && settings.isOld ? "vlm" : "llm");
    const open = models.filter(({ state }) => settings.loadsOnDemand || state === "loaded");
    if (path === "/v1/models") return openAi(open, () => ({ owned_by: "organization_owner" }));
    if (path === "/api/v1/models" && !settings.isOld) {
      const instances = ({ id, state, contextTokens }: ShapedModel): Json[] =>
        state === "loaded" ? [{ id, config: { context_length: contextTokens, parallel: settings.slots } }] : [];
      return {
        json: {
          models: models.map((one) => ({
            ...{
              type: type(one),
              publisher: "lmstudio-community",
              key: one.id,
              quantization: { name: one.quantization, bits_per_weight: 4 },
              size_bytes: one.sizeBytes,
            },
            ...{ max_context_length: one.trainedTokens, loaded_instances: instances(one) },
            ...(!one.embeddings && { capabilities: { vision: one.vision, trained_for_tool_use: one.tools } }),
          })),
        },
      };
    }
    if (path === "/api/v0/models") {
      const data = models.map((one) => ({
        ...{
          id: one.id,
          object: "model",
          type: one.embeddings ? "embeddings" : type(one),
          publisher: "lmstudio-community",
          quantization: one.quantization,
        },
        ...{
          state: one.state === "loaded" ? "loaded" : "not-loaded",
          max_context_length: one.trainedTokens,
          capabilities: one.tools ? ["tool_use"] : [],
        },
        ...(one.state === "loaded" && { loaded_context_length: one.contextTokens }),
      }));
      return { json: { object: "list", data } };
    }
    return { json: { error: `Unexpected endpoint or method. (GET ${path})` } };
  },
  llamacpp({ models, settings }, path, query) {
    const { isRouter, isSleeping, hasMetrics, hasSlots, slots, busy } = settings;
    const [first] = models;
    if (!isRouter && (first === undefined || first.state !== "loaded")) return refusal(503, "Loading model");
    if (path === "/v1/models") {
      const meta = (one: ShapedModel): Json => ({
        n_ctx: one.contextTokens,
        n_ctx_train: one.trainedTokens,
        n_params: 1_000_000,
        size: one.sizeBytes,
        ftype: one.quantization,
      });
      const status = (one: ShapedModel): Json => ({ status: { value: one.state === "cold" ? "unloaded" : one.state } });
      return openAi(models, (one) => ({
        owned_by: "llamacpp",
        ...(!isRouter || one.state === "loaded" ? { meta: meta(one) } : {}),
        ...(isRouter && status(one)),
      }));
    }
    const asked = isRouter ? models.find(({ id }) => id === query.get("model")) : first;
    if (asked === undefined) return refusal(400, "model name is missing");
    if (asked.state !== "loaded") return refusal(400, "model is not loaded");
    if (path === "/props")
      return {
        json: {
          ...{
            total_slots: slots,
            is_sleeping: isSleeping,
            build_info: "b11669-shape",
            model_ftype: asked.quantization,
            model_path: `/srv/models/${asked.file ?? `${asked.id}.gguf`}`,
            modalities: { vision: asked.vision },
          },
          ...{
            chat_template_caps: { supports_tools: asked.tools, supports_tool_calls: asked.tools },
            default_generation_settings: { n_ctx: asked.contextTokens },
          },
        },
      };
    if (path === "/metrics")
      return hasMetrics
        ? { text: `# TYPE llamacpp:requests_processing gauge\nllamacpp:requests_processing ${busy}\n` }
        : refusal(501, "not supported");
    if (path !== "/slots") return undefined;
    // As the real one: it wakes.
    settings.isSleeping = false;
    return hasSlots
      ? { json: Array.from({ length: slots }, (_, id) => ({ id, n_ctx: asked.contextTokens, is_processing: id < busy })) }
      : refusal(501, "not supported");
  },
  vllm({ models, settings }, path) {
    if (path === "/v1/models")
      return openAi(models, ({ id, contextTokens }) => ({ owned_by: "vllm", root: id, parent: null, max_model_len: contextTokens }));
    if (path === "/version") return { json: { version: "0.11.0" } };
    return path === "/metrics" ? { text: `vllm:num_requests_running{model_name="x"} ${settings.busy}.0\n` } : undefined;
  },
  mlx: ({ models }, path) => (path === "/v1/models" ? openAi(models, () => ({})) : undefined),
  openai: ({ models }, path) => (path === "/v1/models" ? openAi(models, () => ({ owned_by: "somebody" })) : undefined),
  stranger: () => undefined,
};
