/** What the operations on models answer (handlers.ts): what is lent, the book of requests, and a plan for one. */
import { ClusterError } from "@openclaw-cluster/contract/errors";
import type { ModelPlanRequest } from "@openclaw-cluster/contract/model-requests";
import { LENT_MODELS_MAX, type LentModel } from "@openclaw-cluster/contract/models";
import type { MODEL_OPERATIONS } from "@openclaw-cluster/contract/model-operations";
import { modelRequestFor } from "../core/visibility.ts";
import type { ModelPath, ModelSight } from "../models/models.ts";
import type { ApiTokenRow } from "../store/store.ts";
import type { Handlers } from "./handler.ts";
import { askerOf } from "./model-front.ts";

export const MODEL_HANDLERS: Pick<Handlers, keyof typeof MODEL_OPERATIONS> = {
  models: async (coordinator) => ({ models: [...(await coordinator.models())].sort(byPlace).slice(0, LENT_MODELS_MAX) }),
  modelRequests: (_coordinator, { query: { node, model, limit }, reader, sight }) => {
    const conditions = { ...(node !== undefined && { node }), ...(model !== undefined && { model }) };
    return {
      requests: sight()
        .book.list({ ...conditions, limit })
        .map((request) => modelRequestFor(reader, request)),
    };
  },
  modelRequest: (_coordinator, { params: { id }, reader, sight }) => {
    const request = sight().book.find(id);
    if (request === undefined)
      throw new ClusterError(
        "not_found",
        `There is no request ${id} (any more): whoever leads keeps the last thousand, in its memory. \`openclaw-cluster models why\` lists the newest.`,
      );
    return modelRequestFor(reader, request);
  },
  planModel: (_coordinator, { body: { path, ...body }, token, sight }) =>
    sight().plan({ path: path ?? pathOf(body), body, asker: askerOf(token as ApiTokenRow) }),
};

/** Throws not_found. */
export function sightOf(sight: ModelSight | undefined): ModelSight {
  if (sight !== undefined) return sight;
  throw new ClusterError(
    "not_found",
    "No request for a model comes through here: models.enabled is off in the settings of the control node that leads.",
  );
}

const pathOf = (body: Omit<ModelPlanRequest, "path">): ModelPath =>
  "input" in body && !("messages" in body) ? "/responses" : "/chat/completions";

function byPlace(a: LentModel, b: LentModel): number {
  const differing = (["id", "node", "endpoint"] as const).find((field) => a[field] !== b[field]);
  return differing === undefined ? 0 : a[differing] < b[differing] ? -1 : 1;
}
