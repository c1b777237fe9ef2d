/** The operations of the table (operations.ts) that tell of requests for models, and of what would become of one. */
import { z } from "zod";
import { NodeId } from "./ids.ts";
import { LIMITS } from "./limits.ts";
import { MODEL_REQUESTS, ModelPlan, ModelPlanRequest, ModelRequestId, ModelRequestPage, ModelRequestRecord } from "./model-requests.ts";
import { ModelList } from "./models.ts";
import type { Operation } from "./operation.ts";

export const MODEL_OPERATIONS = {
  models: { method: "get", path: "/models", scope: "viewer", status: 200, summary: "Language models that nodes lend", reply: ModelList },
  modelRequests: {
    method: "get",
    path: "/models/requests",
    scope: "viewer",
    others: "outline",
    status: 200,
    summary: "The last requests for models, newest first: who asked, where each went and why",
    query: z.object({
      node: NodeId.optional(),
      model: z.string().min(1).max(MODEL_REQUESTS.nameCharsMax).optional(),
      limit: z.coerce.number().int().min(1).max(LIMITS.listMax).default(50),
    }),
    reply: ModelRequestPage,
  },
  modelRequest: {
    method: "get",
    path: "/models/requests/{id}",
    scope: "viewer",
    others: "outline",
    status: 200,
    summary: "One request for a model, by the id that its answer had",
    params: z.object({ id: ModelRequestId }),
    reply: ModelRequestRecord,
  },
  planModel: {
    method: "post",
    path: "/models/plan",
    scope: "submitter",
    status: 200,
    summary: "Which node would answer this request now, and why; nobody is asked",
    body: ModelPlanRequest,
    bodyBytesMax: MODEL_REQUESTS.planBytesMax,
    reply: ModelPlan,
  },
} as const satisfies Record<string, Operation>;
