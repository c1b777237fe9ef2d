/**
 * What a benchmark of a place says, from when the pieces of its answers came.
 *
 * F1. Figures are as whoever asks sees them: the way there and back, and the wait for a turn, are in the time to the first token, and so
 *     in the speed of reading.
 * F2. Of several answers the median counts: one that met another program's request says little of the place.
 * F3. The first token belongs to reading: writing is what came after it, in the time after it.
 */

/** Milliseconds since the question. */
export interface AnswerMarks {
  /** When the model said something, piece by piece; at least one. */
  readonly saidMs: readonly [number, ...number[]];
  /** As its server counts. A piece may hold several tokens. */
  readonly usage?: { readonly promptTokens: number; readonly outputTokens: number };
}

export interface BenchFault {
  readonly code: string;
  readonly detail: string;
}

export type BenchOutcome =
  | { readonly kind: "answered"; readonly marks: AnswerMarks }
  | { readonly kind: "failed"; readonly fault: BenchFault };

/** Questions that were asked together. */
export type BenchRound = readonly BenchOutcome[];

export interface PlaceFigures {
  readonly firstTokenMs?: number;
  readonly promptTokensPerS?: number;
  /** Of one answer. */
  readonly tokensPerS?: number;
  /** Of all answers that come at the same time. */
  readonly togetherPerS?: number;
  readonly promptTokens?: number;
  readonly tokens?: number;
  /** events: its server does not count, so each piece is taken for a token. */
  readonly counted?: "usage" | "events";
  readonly asked: number;
  readonly faults: readonly BenchFault[];
}

const SECOND_MS = 1_000;

/** `promptTokens`: as wished, for a server that does not count. */
export function figuresOf(rounds: readonly BenchRound[], promptTokens: number): PlaceFigures {
  const outcomes = rounds.flat();
  const faults = outcomes.flatMap((outcome) => (outcome.kind === "failed" ? [outcome.fault] : []));
  const marks = rounds.map((round) => round.flatMap((outcome) => (outcome.kind === "answered" ? [outcome.marks] : [])));
  const all = marks.flat();
  if (all.length === 0) return { asked: outcomes.length, faults };
  const promptOf = ({ usage }: AnswerMarks): number => usage?.promptTokens ?? promptTokens;
  return {
    ...known("firstTokenMs", median(all.map(firstMs))),
    ...known("promptTokensPerS", median(all.flatMap((one) => speed(promptOf(one), firstMs(one))))),
    ...known("tokensPerS", median(all.flatMap((one) => speed(tokensAfterFirst(one), lastMs(one) - firstMs(one))))),
    ...known("togetherPerS", median(marks.flatMap(together))),
    ...known("promptTokens", median(all.map(promptOf))),
    ...known("tokens", median(all.map(tokensOf))),
    counted: all.every(({ usage }) => usage !== undefined) ? "usage" : "events",
    asked: outcomes.length,
    faults,
  };
}

const firstMs = ({ saidMs }: AnswerMarks): number => saidMs[0];
const lastMs = ({ saidMs }: AnswerMarks): number => saidMs.at(-1) as number;
const tokensOf = ({ saidMs, usage }: AnswerMarks): number => usage?.outputTokens ?? saidMs.length;

/** F3: pieces are about alike, so the first one holds its share of the tokens. */
const tokensAfterFirst = (one: AnswerMarks): number => tokensOf(one) * (1 - 1 / one.saidMs.length);

/** From the first one's first token to the last one's last. */
function together(round: readonly AnswerMarks[]): number[] {
  if (round.length < 2) return [];
  const tokens = round.reduce((sum, one) => sum + tokensAfterFirst(one), 0);
  return speed(tokens, Math.max(...round.map(lastMs)) - Math.min(...round.map(firstMs)));
}

/** None where the time is too short to tell. */
const speed = (amount: number, ms: number): number[] => (amount > 0 && ms > 0 ? [(amount * SECOND_MS) / ms] : []);

/** F2. */
function median(values: readonly number[]): number | undefined {
  const sorted = values.toSorted((a, b) => a - b);
  const [low, high] = [sorted[Math.floor((sorted.length - 1) / 2)], sorted[Math.floor(sorted.length / 2)]];
  return low === undefined || high === undefined ? undefined : (low + high) / 2;
}

const known = <Name extends string>(name: Name, value: number | undefined): { [key in Name]?: number } =>
  value === undefined ? {} : ({ [name]: value } as { [key in Name]: number });
