/**
 * Which program answers at an address: each has lists of its own that no other has, though most copy one of another's.
 *
 * G1. It never throws: a server that is strange, slow or endless is one that is not known.
 * G2. One question that each of them answers comes first; only who answered that is asked the others' own questions, all at once.
 * G3. The surest sign counts first: llama-server's list looks like Ollama's and vLLM's like anybody's.
 */
import type { ModelServerKind } from "@openclaw-cluster/contract/models";
import { z } from "zod";
import { isLlamaCpp } from "./llama-cpp.ts";
import { isLmStudio } from "./lm-studio.ts";
import { isMlx, isOpenAi } from "./openai.ts";
import { readAs } from "./reading.ts";
import type { Heard, ModelServer } from "./model-server.ts";
import { isVllm, isVllmList } from "./vllm.ts";

const Version = z.object({ version: z.string() });
/** A list that is empty is null in some releases. */
const Tags = z.object({ models: z.array(z.object({ name: z.string() })).nullish() });

/** undefined: nothing of use answers. */
export async function recognise(server: ModelServer): Promise<ModelServerKind | undefined> {
  const models = await hear(server, "/v1/models");
  if (models === undefined) return undefined;
  if (/^llama\.cpp\b/.test(models.server)) return "llamacpp";
  if (isVllmList(models)) return "vllm";
  if (isMlx(models)) return "mlx";
  // G2
  const ways = ["/api/version", "/api/tags", "/api/v1/models", "/api/v0/models", "/props", "/version", "/metrics"] as const;
  const [ollama, tags, studio, studioBefore, props, version, metrics] = await Promise.all(ways.map((way) => hear(server, way)));
  if (props && isLlamaCpp(props)) return "llamacpp";
  if (ollama && readAs(Version, ollama) && tags && readAs(Tags, tags)) return "ollama";
  if ((studio && isLmStudio(studio)) || (studioBefore && isLmStudio(studioBefore))) return "lmstudio";
  if (version && isVllm(models, version, metrics)) return "vllm";
  return isOpenAi(models) ? "openai" : undefined;
}

/** G1 */
const hear = (server: ModelServer, path: string): Promise<Heard | undefined> => server.hear(path).catch(() => undefined);
