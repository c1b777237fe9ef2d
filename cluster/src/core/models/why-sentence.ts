/**
 * Why a place was chosen, in one sentence: `studio: loaded, 80% of the prompt cached there, first token expected in 120 ms; 3 others
 * are slower`.
 *
 * Y1. It is ASCII without line ends, whatever models and endpoints are called: it travels as a header.
 */
import type { ModelCandidateView } from "@openclaw-cluster/contract/model-requests";
import type { ModelCandidate } from "./choose.ts";
import { candidateView } from "./request-views.ts";

type Told = Pick<ModelCandidateView, "node" | "state" | "cachedShare" | "firstTokenMs" | "endMs" | "terms" | "because">;

/** `others`: the candidates behind it. */
export const whySentence = (candidate: ModelCandidate, others: readonly ModelCandidate[] = []): string =>
  whyText(candidateView(candidate), others.map(candidateView));

/** The same of what a record or a plan tells. */
export function whyText(chosen: Told, others: readonly Told[]): string {
  const parts = [stateText(chosen), cachedText(chosen), queueText(chosen), `first token expected in ${duration(chosen.firstTokenMs)}`];
  return [`${chosen.node}: ${parts.filter((part) => part !== "").join(", ")}`, ...comparison(chosen, others)].join("; ");
}

function stateText({ state, terms }: Told): string {
  switch (state) {
    case "loaded":
      return "loaded";
    case "loading":
      return "being loaded";
    case "cold":
      return `to be loaded in ${duration(terms.load)}`;
  }
}

/** Under one percent it is the beginning that all prompts share. */
function cachedText({ cachedShare }: Told): string {
  const percent = Math.round(cachedShare * 100);
  return percent === 0 ? "" : `${percent}% of the prompt cached there`;
}

const queueText = ({ terms }: Told): string => (terms.queue === 0 ? "" : `${duration(terms.queue)} in its line`);

function comparison(chosen: Told, others: readonly Told[]): string[] {
  const slower = others.filter(({ endMs }) => endMs >= chosen.endMs).length;
  const quicker = others.length - slower;
  return [
    ...(chosen.because === "session" ? ["this conversation was answered there before"] : []),
    ...(chosen.because === "spread" ? ["another one has more of the prompt cached, and is clearly busier"] : []),
    ...(slower > 0 ? [slower === 1 ? "1 other is slower" : `${slower} others are slower`] : []),
    // A larger model that is quick enough, an alias's earlier entry, or a place whose loading harms nobody.
    ...(quicker > 0 && chosen.because === undefined
      ? [`${quicker} that would be done sooner ${quicker === 1 ? "comes" : "come"} behind it`]
      : []),
  ];
}

function duration(ms: number): string {
  return ms < 1_000 ? `${Math.round(ms)} ms` : `${(ms / 1_000).toFixed(1)} s`;
}
