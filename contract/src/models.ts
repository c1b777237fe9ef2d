/** Language models that nodes lend each other: what a node tells of them, and what is told of them by the API. */
import { z } from "zod";
import { NodeId } from "./ids.ts";

const Text = z.string().min(1).max(256);

/** The program behind an endpoint. `openai`: any other that speaks OpenAI's API. */
export const ModelServerKind = z.enum(["ollama", "lmstudio", "llamacpp", "vllm", "mlx", "openai"]);
export type ModelServerKind = z.infer<typeof ModelServerKind>;

/** What can be asked of it, as its server tells; where that does not tell, what its kind usually can. */
export const ModelAbilities = z.object({
  chat: z.boolean(),
  tools: z.boolean(),
  vision: z.boolean(),
  /** An answer held to a JSON schema. */
  json: z.boolean(),
  embeddings: z.boolean(),
});
export type ModelAbilities = z.infer<typeof ModelAbilities>;

/** cold: the first request loads it. */
export const ModelState = z.enum(["loaded", "loading", "cold"]);
export type ModelState = z.infer<typeof ModelState>;

export const NodeModelOffer = z.object({
  /** As its server calls it. */
  id: Text,
  /** Which of the node's endpoints has it, by the name in its settings, or the server's kind. */
  endpoint: Text,
  server: ModelServerKind,
  /** sha256 of its file, or a fingerprint of what is known of it. The same digest is the same model. */
  digest: Text.optional(),
  sizeBytes: z.int().min(0).optional(),
  /** As its server says it: `Q4_K_M`, `4bit`. */
  quantization: Text.optional(),
  /** What one request can use: as loaded, and where it is cold, as it would be, where that is known. Tokens. */
  contextTokens: z.int().min(1).optional(),
  can: ModelAbilities,
  /** Each answer costs money: it is asked only where an alias names it. */
  paid: z.boolean().optional(),
  state: ModelState,
  /** Its machine runs on its battery, and lends all the same: it is asked where others are clearly slower. */
  onBattery: z.boolean().optional(),
  /** How many requests it answers side by side, and how many it does, other programs' included, where that can be seen. */
  slots: z.object({ total: z.int().min(1), busy: z.int().min(0) }).optional(),
});
export type NodeModelOffer = z.infer<typeof NodeModelOffer>;

/** What a node lends at the moment. Lists are cut at their limit. */
export const NODE_MODELS_MAX = 256;
export const NodeModels = z.object({ models: z.array(NodeModelOffer).max(NODE_MODELS_MAX) });
export type NodeModels = z.infer<typeof NodeModels>;

/** A model of a node's, as the router sees it. */
export const LentModel = NodeModelOffer.extend({ node: NodeId });
export type LentModel = z.infer<typeof LentModel>;

/** Fifty nodes that lend all they may; at a home some tens. The list is cut there. */
export const LENT_MODELS_MAX = 50 * NODE_MODELS_MAX;
/** By id, then by node and endpoint. */
export const ModelList = z.object({ models: z.array(LentModel).max(LENT_MODELS_MAX) });
export type ModelList = z.infer<typeof ModelList>;
