/**
 * Measures one place of a model by asking it, and keeps when the pieces of each answer came.
 *
 * M1. What is known when somebody interrupts is kept; the question that was under way then is no failure.
 * M2. A round in which nobody answered is the last one: whoever is gone is not waited for again and again.
 * M3. What loads first is asked a word before, so that no figure has the loading in it but its own.
 */
import type { ChatPiece, ChatRequest } from "@openclaw-cluster/contract/client/chat";
import type { LentModel } from "@openclaw-cluster/contract/models";
import type { AnswerMarks, BenchOutcome, BenchRound } from "../core/models/bench-figures.ts";
import { benchPrompt } from "../core/models/bench-prompt.ts";
import { placeName } from "../core/models/place.ts";
import { failureOf } from "./failure.ts";

export interface BenchWish {
  /** That an answer may have. */
  readonly tokens: number;
  readonly promptTokens: number;
  readonly rounds: number;
  /** Questions that are asked together. */
  readonly streams: number;
}

export interface BenchParts {
  ask(request: ChatRequest, options: { readonly signal: AbortSignal }): AsyncIterable<ChatPiece>;
  /** ms that never jump. */
  now(): number;
  random(): number;
  /** Aborts when somebody interrupts. */
  readonly signal: AbortSignal;
  /** `round` from 1; 0: it is being loaded. */
  onRound(round: number): void;
}

/** What has been measured so far. */
export interface Measured {
  readonly rounds: readonly BenchRound[];
  /** Of one that was cold: to its first word. */
  readonly loadMs?: number;
}

export async function measure(model: LentModel, wish: BenchWish, parts: BenchParts): Promise<Measured> {
  if (model.state === "loaded") return { rounds: await measureLoaded(model, wish, parts) };
  parts.onRound(0);
  const loaded = await askOnce(model, { tokens: 1, promptTokens: 1 }, parts);
  if (loaded?.kind !== "answered") return { rounds: loaded === undefined ? [] : [[loaded]] };
  const [loadMs] = loaded.marks.saidMs;
  return { loadMs, rounds: await measureLoaded(model, wish, parts) };
}

async function measureLoaded(model: LentModel, wish: BenchWish, parts: BenchParts): Promise<BenchRound[]> {
  const rounds: BenchRound[] = [];
  while (rounds.length < wish.rounds && !parts.signal.aborted) {
    parts.onRound(rounds.length + 1);
    const round = await askTogether(model, wish, parts);
    if (round.length > 0) rounds.push(round);
    if (!round.some(({ kind }) => kind === "answered")) break;
  }
  return rounds;
}

/** M1: without those that were interrupted. */
async function askTogether(model: LentModel, { streams, ...wish }: BenchWish, parts: BenchParts): Promise<BenchRound> {
  const outcomes = await Promise.all(Array.from({ length: streams }, () => askOnce(model, wish, parts)));
  return outcomes.filter((outcome) => outcome !== undefined);
}

async function askOnce(
  model: LentModel,
  { tokens, promptTokens }: Pick<BenchWish, "tokens" | "promptTokens">,
  { ask, now, random, signal }: BenchParts,
): Promise<BenchOutcome | undefined> {
  const content = benchPrompt(promptTokens, random);
  const begunAt = now();
  const saidMs: number[] = [];
  let usage: AnswerMarks["usage"];
  try {
    const request = { model: placeName(model), messages: [{ role: "user" as const, content }], max_tokens: tokens };
    for await (const piece of ask(request, { signal })) {
      if (says(piece)) saidMs.push(now() - begunAt);
      if (piece.usage) usage = { promptTokens: piece.usage.prompt_tokens, outputTokens: piece.usage.completion_tokens };
    }
  } catch (error) {
    if (signal.aborted) return undefined;
    const { code, detail } = failureOf(error);
    return { kind: "failed", fault: { code, detail } };
  }
  const [first, ...rest] = saidMs;
  if (first === undefined) return { kind: "failed", fault: { code: "empty", detail: "it said nothing" } };
  return { kind: "answered", marks: { saidMs: [first, ...rest], ...(usage !== undefined && { usage }) } };
}

/** Words, thoughts or a piece of a call; its role and an empty end are none. */
function says({ choices }: ChatPiece): boolean {
  return (choices ?? []).some(({ delta }) =>
    Object.entries(delta ?? {}).some(([name, value]) => name !== "role" && (typeof value === "string" ? value !== "" : isFilled(value))),
  );
}

const isFilled = (value: unknown): boolean => Array.isArray(value) && value.length > 0;
