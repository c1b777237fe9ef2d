/**
 * The choice of a place for one request: of those that can answer it, the one that is expected to answer first, and the
 * others behind it in order, to be tried when it fails.
 *
 * C1. What does not fit, is not allowed or has an open breaker is never among the candidates, and is told with its reason.
 * C2. Groups are tried in their order; a group of `auto` that would be slow waits behind the others (A1 in auto-groups.ts).
 * C3. The conversation's last place comes first, then the cost decides, in which a cached prompt is cheap. Neither counts
 *     where the place is clearly busier than another one.
 * C4. The same request, places and figures give the same choice, in whatever order the places are told. Equal ones are told
 *     apart by rendezvous hashing, so they share the work.
 */
import type { LentModel } from "@openclaw-cluster/contract/models";
import { nameHash, rendezvous } from "../scheduling/hash.ts";
import type { ModelGroup } from "./auto-groups.ts";
import { misfit, type ModelNeeds } from "./model-needs.ts";
import { refuse, type ModelRefusal, type PassedOver } from "./model-refusal.ts";
import type { ModelRates } from "./model-rates.ts";
import { placeKey, type PlaceKey } from "./place.ts";
import { activeAt, predict, type PlaceLoad, type Prediction } from "./predict.ts";

/** What the choice asks of the router, for a place. */
export interface PlaceView {
  load(model: LentModel): PlaceLoad;
  /** The share of this prompt that is cached there (prefix-chain.ts). */
  hit(model: LentModel): number;
  /** Until the breaker lets a request through; 0: it does. */
  breakerMs(model: LentModel): number;
  /** Why this request may not go there, completing "<model> …"; undefined: it may. */
  forbidden(model: LentModel): string | undefined;
  /** What a time there weighs: 1, and more where somebody sits before the machine, or it runs on its battery. */
  weight(model: LentModel): number;
}

export interface ModelChoosing {
  readonly groups: readonly ModelGroup[];
  readonly needs: ModelNeeds;
  readonly view: PlaceView;
  readonly rates: ModelRates;
  /** C3: the place of the session's last answer. */
  readonly lastPlace?: PlaceKey | undefined;
  /** C4: of the request. */
  readonly requestHash: number;
}

export interface ModelCandidate {
  readonly model: LentModel;
  readonly group: string;
  readonly prediction: Prediction;
  /** Milliseconds until its end and of harm to others, weighted; the order within a group but for `because`. */
  readonly cost: number;
  readonly hit: number;
  /** The first of its group, and not for its cost alone. `spread`: a place with more of the prompt is clearly busier. */
  readonly because?: "session" | "spread";
}

export type ModelChoice =
  | { readonly kind: "chosen"; readonly candidates: readonly ModelCandidate[]; readonly passedOver: readonly PassedOver[] }
  | { readonly kind: "refused"; readonly refusal: ModelRefusal; readonly passedOver: readonly PassedOver[] };

/** C3, as in SGLang's router; its 64 is for data centres, at home two requests are a difference. */
const BUSIER_MIN = 2;
const BUSIER_FACTOR = 1.5;
/** C3: a conversation leaves its place for one that is so much quicker. It takes its prompt along, which is in the cost. */
const SESSION_COST_MAX = 1.5;
/** C2: a person who talks waits so long for the first word, and reads so quickly (250 words a minute). */
const QUICK_FIRST_TOKEN_MS = 15_000;
const QUICK_TOKENS_PER_S = 6;

export function chooseModel(choosing: ModelChoosing): ModelChoice {
  const passedOver: PassedOver[] = [];
  const seen = new Set<PlaceKey>();
  const quick: ModelCandidate[] = [];
  const slow: ModelCandidate[] = [];
  for (const group of choosing.groups) {
    const candidates: ModelCandidate[] = [];
    for (const model of group.models) {
      const key = placeKey(model);
      if (seen.has(key)) continue;
      seen.add(key);
      const objection = objectionTo(model, choosing);
      if (objection === undefined) candidates.push(judge(model, group, choosing, choosing.view.hit(model)));
      else passedOver.push(objection);
    }
    const ordered = inOrder(candidates, choosing);
    const first = ordered[0];
    (group.onlyIfQuick === true && first !== undefined && !isQuick(first) ? slow : quick).push(...ordered);
  }
  // Where nothing is quick, the least slow of all is what is left of the wish.
  const candidates = [...quick, ...slow.toSorted((a, b) => a.cost - b.cost)];
  if (candidates.length > 0) return { kind: "chosen", candidates, passedOver };
  return { kind: "refused", refusal: refuse(passedOver, choosing.needs), passedOver };
}

/** C1. */
function objectionTo(model: LentModel, { needs, view }: ModelChoosing): PassedOver | undefined {
  const unfit = misfit(model, needs);
  if (unfit !== undefined) return { model, ...unfit };
  const forbidden = view.forbidden(model);
  if (forbidden !== undefined) return { model, code: "forbidden", detail: forbidden };
  const waitMs = view.breakerMs(model);
  if (waitMs > 0)
    return { model, code: "breaker_open", detail: `failed again and again, and is left alone for ${Math.ceil(waitMs / 1_000)} s`, waitMs };
  return undefined;
}

function judge(model: LentModel, { name }: ModelGroup, { needs, view, rates }: ModelChoosing, hit: number): ModelCandidate {
  const prediction = predict(model, needs, view.load(model), hit, rates);
  return { model, group: name, prediction, hit, cost: (prediction.endMs + prediction.terms.displace) * Math.max(1, view.weight(model)) };
}

/** C3. */
function inOrder(candidates: readonly ModelCandidate[], choosing: ModelChoosing): ModelCandidate[] {
  if (candidates.length < 2) return [...candidates];
  const ordered = byCost(candidates, choosing);
  const best = ordered[0] as ModelCandidate;
  const active = ({ model }: ModelCandidate): number => activeAt(model, choosing.view.load(model));
  const least = Math.min(...candidates.map(active));
  const isBusier = (one: ModelCandidate): boolean => active(one) - least >= BUSIER_MIN && active(one) > BUSIER_FACTOR * least;

  const last = choosing.lastPlace && ordered.find(({ model }) => placeKey(model) === choosing.lastPlace);
  if (last && last.model.state !== "cold" && !isBusier(last) && last.cost <= best.cost * SESSION_COST_MAX)
    return [{ ...last, because: "session" }, ...ordered.filter((one) => one !== last)];
  if (best.hit === 0 || !isBusier(best)) return ordered;
  const blind = byCost(
    candidates.map(({ model, group }) => judge(model, { name: group, models: [] }, choosing, 0)),
    choosing,
  );
  const [first, ...rest] = blind as [ModelCandidate, ...ModelCandidate[]];
  return placeKey(first.model) === placeKey(best.model) ? ordered : [{ ...first, because: "spread" }, ...rest];
}

/** C4. */
function byCost(candidates: readonly ModelCandidate[], { requestHash }: ModelChoosing): ModelCandidate[] {
  const lot = new Map(candidates.map((one) => [one, rendezvous(requestHash, nameHash(placeKey(one.model)))]));
  const lotOf = (one: ModelCandidate): number => lot.get(one) as number;
  return candidates.toSorted(
    (a, b) => Math.round(a.cost) - Math.round(b.cost) || lotOf(b) - lotOf(a) || (placeKey(a.model) < placeKey(b.model) ? -1 : 1),
  );
}

const isQuick = ({ prediction }: ModelCandidate): boolean =>
  prediction.firstTokenMs <= QUICK_FIRST_TOKEN_MS && prediction.tokensPerS >= QUICK_TOKENS_PER_S;
