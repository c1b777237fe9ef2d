/**
 * What people can see of requests for models, over a real book: candidates are those that the chooser finds among given models, and
 * requests are noted as the router does. Nothing is asked.
 */
import type { ModelPlan } from "@openclaw-cluster/contract/model-requests";
import type { LentModel } from "@openclaw-cluster/contract/models";
import { chooseModel, type ModelChoice } from "../../cluster/src/core/models/choose.ts";
import { resolveModel } from "../../cluster/src/core/models/model-names.ts";
import { needsOf } from "../../cluster/src/core/models/model-needs.ts";
import { ModelRates } from "../../cluster/src/core/models/model-rates.ts";
import { promptParts } from "../../cluster/src/core/models/prompt-parts.ts";
import { RequestBook } from "../../cluster/src/core/models/request-book.ts";
import type { AskedFor, RequestNotes } from "../../cluster/src/core/models/request-notes.ts";
import { planOf, refusedPlan } from "../../cluster/src/core/models/request-views.ts";
import { RouteRefusal, type ModelDesk, type ModelRequest, type ModelSight, type PlaceWork } from "../../cluster/src/models/models.ts";
import { STARTED_AT } from "./fake-answers.ts";

const KINDS = { "/chat/completions": "chat", "/responses": "responses", "/embeddings": "embeddings" } as const;
const FREE = { roundTripMs: 2, inFlight: 0, inFlightMs: 0, queued: 0, queuedMs: 0, beside: 0, besideMs: 0, displacesMs: 0 };

export class TestSight implements ModelSight {
  readonly book = new RequestBook();
  readonly asked: Omit<ModelRequest, "lane">[] = [];
  work: PlaceWork[] = [];
  models: readonly LentModel[];
  /** Whose owner lends it to nobody. */
  forbidden: readonly string[] = [];

  constructor(models: readonly LentModel[] = []) {
    this.models = models;
  }

  plan(request: Omit<ModelRequest, "lane">): ModelPlan {
    this.asked.push(request);
    const choice = this.choose(request);
    return choice === undefined ? refusedPlan("model_not_found", `no node lends a model ${String(request.body["model"])}`) : planOf(choice);
  }

  /** undefined: nobody has a model of that name. */
  choose({ path, body }: Pick<ModelRequest, "path" | "body">): ModelChoice | undefined {
    const kind = KINDS[path];
    const named = resolveModel(body["model"], this.models, {});
    if (named.kind === "refused") return undefined;
    return chooseModel({
      ...{ groups: named.groups, needs: needsOf(kind, body, promptParts(kind, body)), rates: new ModelRates(), requestHash: 1 },
      view: {
        ...{ load: () => FREE, hit: () => 0.5, breakerMs: () => 0, weight: () => 1 },
        forbidden: ({ node }) => (this.forbidden.includes(node) ? "is not lent to others" : undefined),
      },
    });
  }

  loads(): readonly PlaceWork[] {
    return this.work;
  }

  /** A stream that somebody asks for, with what was chosen for it. */
  note(id: string, more: Partial<AskedFor> = {}): RequestNotes {
    const asked = { lane: "interactive", path: "/chat/completions", promptTokens: 1_200, outputTokens: 400, streams: true } as const;
    const notes = this.book.open({ ...asked, id, at: STARTED_AT, user: "ann", name: "auto", ...more }, 0);
    const choice = this.choose({ path: "/chat/completions", body: { model: more.name ?? "auto", messages: [] } });
    if (choice !== undefined) notes.chose(choice);
    return notes;
  }
}

/** Of somebody who leads, and routes nothing. */
export const deskOf = (sight: ModelSight): ModelDesk => ({
  sight,
  router: {
    list: async () => [],
    answer: () => Promise.reject(new RouteRefusal(503, "node_lost", "nobody is asked here")),
  },
  attach: (_node, _way, socket) => void socket.destroy(),
});
