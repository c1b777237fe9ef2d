/** The router's judgement as it is shown to people: bounded lists and texts, whatever names servers give their models. */
import {
  MODEL_REQUESTS,
  type ModelCandidateView,
  type ModelPassedOver,
  type ModelPlan,
  type ModelRefusalView,
} from "@openclaw-cluster/contract/model-requests";
import type { ModelCandidate, ModelChoice } from "./choose.ts";
import { REFUSED_AS, type PassedOver } from "./model-refusal.ts";
import type { Place } from "./place.ts";
import type { PredictionTerms } from "./predict.ts";

const PLACE_CHARS_MAX = 256;
const CODE_CHARS_MAX = 64;

/** Half a character at the cut would be no text any more. */
export const cut = (text: string, charsMax: number): string => text.slice(0, charsMax).toWellFormed();

export const placeView = ({ node, endpoint, id }: Place): Pick<ModelCandidateView, "node" | "endpoint" | "model"> => ({
  node,
  endpoint: cut(endpoint, PLACE_CHARS_MAX),
  model: cut(id, PLACE_CHARS_MAX),
});

export const refusalView = (code: string, message: string): ModelRefusalView => ({
  code: cut(code, CODE_CHARS_MAX),
  message: cut(message, MODEL_REQUESTS.messageCharsMax),
});

export function candidateView({ model, group, prediction, cost, hit, because }: ModelCandidate): ModelCandidateView {
  return {
    ...placeView(model),
    group: cut(group, MODEL_REQUESTS.nameCharsMax),
    firstTokenMs: tenths(prediction.firstTokenMs),
    endMs: tenths(prediction.endMs),
    costMs: tenths(cost),
    cachedShare: Math.max(0, Math.min(1, hit)),
    state: model.state,
    terms: termsView(prediction.terms),
    ...(because !== undefined && { because }),
  };
}

export type Judged = Pick<ModelPlan, "candidates" | "passedOver" | "passedOverMore">;

export function judgedView(choice: ModelChoice): Judged {
  const { passedOver } = choice;
  const more = passedOver.length - MODEL_REQUESTS.passedOverMax;
  return {
    candidates: choice.kind === "chosen" ? choice.candidates.slice(0, MODEL_REQUESTS.candidatesMax).map(candidateView) : [],
    passedOver: passedOver.slice(0, MODEL_REQUESTS.passedOverMax).map(passedOverView),
    ...(more > 0 && { passedOverMore: more }),
  };
}

export function planOf(choice: ModelChoice): ModelPlan {
  if (choice.kind === "chosen") return judgedView(choice);
  const { reason, detail } = choice.refusal;
  return { ...judgedView(choice), refusal: refusalView(REFUSED_AS[reason].code, detail) };
}

/** Of a name that stands for nothing. */
export const refusedPlan = (code: string, message: string): ModelPlan => ({
  ...{ candidates: [], passedOver: [] },
  refusal: refusalView(code, message),
});

const passedOverView = ({ model, code, detail }: PassedOver): ModelPassedOver => ({
  ...placeView(model),
  code,
  detail: cut(detail, MODEL_REQUESTS.messageCharsMax),
});

const termsView = ({ trip, queue, load, read, write, displace }: PredictionTerms): PredictionTerms => ({
  ...{ trip: tenths(trip), queue: tenths(queue), load: tenths(load) },
  ...{ read: tenths(read), write: tenths(write), displace: tenths(displace) },
});

/** What is estimated has no more digits than that. */
export const tenths = (value: number): number => Math.round(value * 10) / 10;
