/** GET /metrics, of models: how quickly each node's answer, and how requests end there. Nothing where none come through. */
import type { ModelSight, PlaceWork } from "../models/models.ts";
import { histogram, metric, type Sample } from "./prometheus.ts";

export function modelMetrics(sight: ModelSight | undefined): string {
  if (sight === undefined) return "";
  const figures = sight.book.figures.all().map((figure) => ({ labels: { node: figure.node, model: figure.model }, ...figure }));
  const loads = sight.loads();
  return [
    histogram(
      "model_first_token_seconds",
      "From a request's turn at a model to the first token of its answer.",
      figures.map(({ labels, firstTokenS }) => [labels, firstTokenS]),
    ),
    histogram(
      "model_tokens_per_second",
      "How quickly answers are written.",
      figures.map(({ labels, tokensPerS }) => [labels, tokensPerS]),
    ),
    metric(
      "model_requests_total",
      "counter",
      "Requests that a model was asked, by how that ended.",
      figures.flatMap(({ labels, endings }) => [...endings].map(([ending, count]): Sample => [{ ...labels, ending }, count])),
    ),
    metric(
      "model_tokens_total",
      "counter",
      "Tokens that were written.",
      figures.map(({ labels, tokens }) => [labels, tokens]),
    ),
    metric(
      "model_waiting",
      "gauge",
      "Requests in a model's line.",
      summed(loads, ({ queued }) => queued),
    ),
    metric(
      "model_at_work",
      "gauge",
      "Requests that a model is answering.",
      summed(loads, ({ inFlight }) => inFlight),
    ),
  ].join("");
}

/** Two endpoints of a node may have the same model; two lines of the same labels would be no metric. */
function summed(loads: readonly PlaceWork[], count: (load: PlaceWork) => number): Sample[] {
  const byModel = Map.groupBy(loads, ({ place: { node, id } }) => JSON.stringify([node, id]));
  return [...byModel.values()].map((same): Sample => {
    const { node, id: model } = (same[0] as PlaceWork).place;
    return [{ node, model }, same.reduce((sum, load) => sum + count(load), 0)];
  });
}
