/** Why a request for a model went where it went, or would go: a sentence, and what spoke for and against each place. */
import type { ModelAttempt, ModelCandidateView, ModelPlan, ModelRequestRecord } from "@openclaw-cluster/contract/model-requests";
import { whyText } from "../core/models/why-sentence.ts";
import { answeredAt, perSecond, placeOf, REQUEST_STYLES, span, stateName } from "./model-requests-view.ts";
import { facts, table } from "./table.ts";
import { paint, plainLine, type Terminal } from "./terminal.ts";
import { dayAndTime, duration } from "./time.ts";

type Judged = Pick<ModelPlan, "candidates" | "passedOver" | "passedOverMore">;

/** What would happen to a request for this model now. */
export function planText(terminal: Terminal, model: string, plan: ModelPlan): string {
  const [first, ...others] = plan.candidates;
  const sentence =
    first === undefined
      ? `nobody would answer ${model} now: ${refusalText(plan.refusal)}`
      : `${placeOf(first)} would answer ${model} now; ${whyText(first, others)}`;
  return [`${plainLine(sentence)}\n`, ...judgedTables(terminal, plan, first)].join("\n");
}

export function requestText(terminal: Terminal, request: ModelRequestRecord): string {
  const { candidates, attempts } = request;
  const [first, ...others] = candidates;
  const tables = [
    ...(attempts.length > 0 ? [attemptTable(terminal, attempts)] : []),
    ...judgedTables(terminal, request, answeredAt(request) ?? first),
  ];
  return [requestFacts(terminal, request, first && whyText(first, others)), ...tables].join("\n");
}

function requestFacts(terminal: Terminal, request: ModelRequestRecord, why: string | undefined): string {
  const { id, at, user, name, on, path, lane, streams, promptTokens, outputTokens, state, endedAt, waitedMs, hidden } = request;
  const took = endedAt === undefined ? "" : `, ${duration(endedAt - at)} after it came`;
  const waited = waitedMs > 0 ? `, ${duration(waitedMs)} of it in line` : "";
  const where = answeredAt(request);
  return facts(terminal, [
    ["request", id],
    ["asked by", `${plainLine(user)}, ${dayAndTime(at)}`],
    ["model", `${plainLine(name) || "-"}${on === undefined ? "" : `, only on ${on}`}`],
    ["kind", `${plainLine(path)}, ${lane}, ${streams ? "as a stream" : "as one piece"}`],
    ["size", `about ${promptTokens} tokens to read, at most ${outputTokens} to write`],
    ["state", `${paint(terminal, REQUEST_STYLES[state], stateName(state))}${took}${waited}`],
    ["answered by", where && plainLine(placeOf(where) ?? "")],
    ["first choice", why],
    ["refused", request.refusal && plainLine(refusalText(request.refusal))],
    ["hidden", hidden && "what servers said: it is another user's, and a token needs the scope operator for that"],
  ]);
}

const refusalText = (refusal: ModelPlan["refusal"]): string =>
  refusal === undefined ? "no reason was told" : refusal.message === "" ? refusal.code : `${refusal.message} (${refusal.code})`;

/** `chosen`: the one that is marked. */
function judgedTables(
  terminal: Terminal,
  { candidates, passedOver, passedOverMore }: Judged,
  chosen: Pick<ModelCandidateView, "node" | "endpoint" | "model"> | undefined,
): string[] {
  const more = passedOverMore === undefined ? "" : `and ${passedOverMore} more\n`;
  const isChosen = ({ node, endpoint, model }: ModelCandidateView): boolean =>
    chosen !== undefined && node === chosen.node && endpoint === chosen.endpoint && model === chosen.model;
  return [
    ...(candidates.length > 0 ? [candidateTable(terminal, candidates, isChosen)] : []),
    ...(passedOver.length > 0
      ? [
          `${table(terminal, passedOver, [
            { title: "PASSED OVER", value: ({ model }) => model },
            { title: "NODE", value: ({ node }) => node },
            { title: "WHY", value: ({ code, detail }) => detail || code },
          ])}${more}`,
        ]
      : []),
  ];
}

/** The terms add up to the first token, and with the writing to the end. */
function candidateTable(
  terminal: Terminal,
  candidates: readonly ModelCandidateView[],
  isChosen: (one: ModelCandidateView) => boolean,
): string {
  const term = (title: string, of: (one: ModelCandidateView) => number) => ({
    ...{ title, right: true as const },
    value: (one: ModelCandidateView) => milliseconds(of(one)),
  });
  return table(terminal, candidates, [
    {
      title: "CANDIDATE (ms)",
      value: (one) => (isChosen(one) ? `${one.model} ◂` : one.model),
      style: (one) => (isChosen(one) ? "green" : undefined),
    },
    { title: "NODE", value: ({ node }) => node },
    { title: "STATE", value: ({ state }) => state },
    { title: "CACHED", value: ({ cachedShare }) => `${Math.round(cachedShare * 100)}%`, right: true },
    term("TRIP", ({ terms }) => terms.trip),
    term("QUEUE", ({ terms }) => terms.queue),
    term("LOAD", ({ terms }) => terms.load),
    term("READ", ({ terms }) => terms.read),
    term("FIRST TOKEN", ({ firstTokenMs }) => firstTokenMs),
    term("WRITE", ({ terms }) => terms.write),
    term("END", ({ endMs }) => endMs),
    term("HARM", ({ terms }) => terms.displace),
    term("COST", ({ costMs }) => costMs),
    { title: "FOUND AS", value: ({ group }) => group },
  ]);
}

const milliseconds = (ms: number): string => (ms > 0 && ms < 1 ? ms.toFixed(1) : String(Math.round(ms)));

function attemptTable(terminal: Terminal, attempts: readonly ModelAttempt[]): string {
  return table(terminal, attempts, [
    { title: "ASKED", value: ({ model }) => model },
    { title: "NODE", value: ({ node }) => node },
    { title: "WAITED", value: ({ waitedMs }) => duration(waitedMs), right: true },
    { title: "FIRST TOKEN", value: ({ firstTokenMs }) => span(firstTokenMs), right: true },
    { title: "TOKENS", value: ({ tokens }) => tokens?.toString(), right: true },
    { title: "TOKENS/S", value: ({ tokensPerS }) => perSecond(tokensPerS), right: true },
    { title: "ENDING", value: ({ ending }) => ending?.replaceAll("_", " ") ?? "under way" },
    { title: "WHAT WAS SAID", value: ({ error }) => error },
  ]);
}
