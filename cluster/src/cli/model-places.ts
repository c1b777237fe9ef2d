/** Models as people name them on the command line. */
import { ClusterError } from "@openclaw-cluster/contract/errors";
import type { LentModel } from "@openclaw-cluster/contract/models";
import type { ModelGroup } from "../core/models/auto-groups.ts";
import { resolveModel } from "../core/models/model-names.ts";

export const NOTHING_NEXT =
  "Start Ollama, LM Studio, llama.cpp, vLLM or MLX on a node: its models are listed here within seconds, if that node's policy.yaml lends them (docs/models.md).";

const modelsOf = (groups: readonly ModelGroup[]): readonly LentModel[] => [...new Set(groups.flatMap(({ models }) => models))];

/** By the router's own rule, but for aliases: those are in the settings of whoever leads. */
export function placesOf(name: string, models: readonly LentModel[]): readonly LentModel[] {
  const named = resolveModel(name, models, {});
  if (named.kind === "found") return modelsOf(named.groups);
  // A paid one is asked only where an alias names it; to look at it is free.
  const paid = resolveModel(name, models, { [name]: [name] });
  if (paid.kind === "found") return modelsOf(paid.groups);
  if (named.reason === "not_a_name") throw new ClusterError("usage", named.detail);
  throw new ClusterError("not_found", models.length === 0 ? `no node lends any model; ${NOTHING_NEXT}` : named.detail);
}
