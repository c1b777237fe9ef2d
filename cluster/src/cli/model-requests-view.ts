/** Requests for models as one line each, and the words that a single one shares with them. */
import type { ModelAttempt, ModelRequestRecord, ModelRequestState } from "@openclaw-cluster/contract/model-requests";
import { placeName } from "../core/models/place.ts";
import { table } from "./table.ts";
import type { Style, Terminal } from "./terminal.ts";
import { clockTime, duration } from "./time.ts";

export const REQUEST_STYLES: Record<ModelRequestState, Style> = {
  waiting: "yellow",
  asked: "cyan",
  answering: "cyan",
  answered: "green",
  failed: "red",
  given_up: "dim",
};

const ANSWERED: ReadonlySet<ModelRequestState> = new Set(["answering", "answered"]);

/** Who answers it, or has. */
export const answeredAt = ({ state, attempts }: ModelRequestRecord): ModelAttempt | undefined =>
  ANSWERED.has(state) ? attempts.at(-1) : undefined;

export const stateName = (state: ModelRequestState): string => state.replaceAll("_", " ");

export const perSecond = (tokensPerS: number | undefined): string | undefined => tokensPerS?.toFixed(tokensPerS < 10 ? 1 : 0);

export const span = (ms: number | undefined): string | undefined => (ms === undefined ? undefined : duration(ms));

/** Newest first, as they come. */
export function requestTable(terminal: Terminal, requests: readonly ModelRequestRecord[]): string {
  return table(terminal, requests, [
    { title: "REQUEST", value: ({ id }) => id },
    { title: "TIME", value: ({ at }) => clockTime(at) },
    { title: "USER", value: ({ user }) => user },
    { title: "MODEL", value: ({ name }) => name || "-" },
    { title: "ANSWERED BY", value: (request) => placeOf(answeredAt(request)) },
    { title: "WAITED", value: ({ waitedMs }) => duration(waitedMs), right: true },
    { title: "FIRST TOKEN", value: (request) => span(answeredAt(request)?.firstTokenMs), right: true },
    { title: "TOKENS/S", value: (request) => perSecond(answeredAt(request)?.tokensPerS), right: true },
    { title: "STATE", value: ({ state }) => stateName(state), style: ({ state }) => REQUEST_STYLES[state] },
  ]);
}

/** As it can be asked for. */
export const placeOf = (place: Pick<ModelAttempt, "model" | "node"> | undefined): string | undefined =>
  place && placeName({ node: place.node, id: place.model });
