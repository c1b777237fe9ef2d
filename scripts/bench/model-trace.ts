/**
 * A made-up home with its machines and models, and a day of conversations with them: the same seed makes the same. Sizes are
 * those of models in 4 bits; speeds are of the order that such machines reach in practice.
 */

/** xorshift32 (Marsaglia): good enough to draw a trace, and the same everywhere. In 0…1. */
export function seeded(seed: number): () => number {
  let state = (Math.imul(seed, 0x9e3779b1) ^ 0x6d2b79f5) | 1;
  return () => {
    state ^= state << 13;
    state ^= state >>> 17;
    state ^= state << 5;
    return (state >>> 0) / 2 ** 32;
  };
}

export interface TracedModel {
  readonly id: string;
  readonly bytes: number;
  readonly weights: number;
  /** Of the conversations. */
  readonly share: number;
}

export const MODELS: readonly TracedModel[] = [
  { id: "small:3b", bytes: 2.0e9, weights: 3.2e9, share: 0.2 },
  { id: "coder:7b", bytes: 4.7e9, weights: 7.6e9, share: 0.2 },
  { id: "general:8b", bytes: 5.2e9, weights: 8.2e9, share: 0.3 },
  { id: "writer:14b", bytes: 9.3e9, weights: 14.8e9, share: 0.15 },
  { id: "large:32b", bytes: 19.8e9, weights: 32.8e9, share: 0.15 },
];

export interface MachineSpec {
  readonly node: string;
  /** For models; what has no room in it is loaded again and again. */
  readonly memoryBytes: number;
  readonly operationsPerS: number;
  readonly memoryBytesPerS: number;
  readonly loadBytesPerS: number;
  readonly slots: number;
  readonly roundTripMs: number;
  readonly models: readonly string[];
}

export const MACHINES: readonly MachineSpec[] = [
  {
    node: "gaming",
    memoryBytes: 23e9,
    operationsPerS: 60e12,
    memoryBytesPerS: 700e9,
    loadBytesPerS: 2e9,
    slots: 4,
    roundTripMs: 2,
    models: MODELS.map(({ id }) => id),
  },
  {
    node: "desktop",
    memoryBytes: 8e9,
    operationsPerS: 15e12,
    memoryBytesPerS: 250e9,
    loadBytesPerS: 1e9,
    slots: 2,
    roundTripMs: 2,
    models: ["small:3b", "coder:7b", "general:8b"],
  },
  {
    node: "laptop",
    memoryBytes: 12e9,
    operationsPerS: 5e12,
    memoryBytesPerS: 110e9,
    loadBytesPerS: 2e9,
    slots: 2,
    roundTripMs: 8,
    models: ["small:3b", "coder:7b", "general:8b", "writer:14b"],
  },
  {
    node: "mini",
    memoryBytes: 10e9,
    operationsPerS: 3e12,
    memoryBytesPerS: 60e9,
    loadBytesPerS: 1e9,
    slots: 1,
    roundTripMs: 3,
    models: ["small:3b", "coder:7b", "general:8b"],
  },
];

export interface Turn {
  /** Added to the prompt by whoever speaks. */
  readonly saidTokens: number;
  readonly answerTokens: number;
  /** From the last answer to this turn. */
  readonly thinkMs: number;
}

export interface Conversation {
  readonly name: string;
  readonly user: string;
  readonly model: string;
  /** Whose system prompt it begins with, and how long that is. */
  readonly agent: number;
  readonly systemTokens: number;
  readonly startMs: number;
  readonly turns: readonly Turn[];
}

/** Of agents with few tools to those with many (an OpenClaw agent's prompt is 14,000 tokens with tool search). */
const SYSTEM_TOKENS = [800, 2_000, 4_000, 8_000];
const USERS = 5;
const THINK_MS = 20_000;
const TURNS_MAX = 10;

/** `everyMs`: between two conversations' beginnings, on average. A turn comes when the one before was answered. */
export function makeTrace({ seed, conversations, everyMs }: { seed: number; conversations: number; everyMs: number }): Conversation[] {
  const random = seeded(seed);
  const waited = (meanMs: number): number => -Math.log(1 - random()) * meanMs;
  const between = (low: number, high: number): number => Math.floor(low + random() * (high - low));
  let startMs = 0;
  return Array.from({ length: conversations }, (_, nth) => {
    startMs += waited(everyMs);
    const agent = between(0, SYSTEM_TOKENS.length);
    const turns = Array.from({ length: between(1, TURNS_MAX + 1) }, () => ({
      saidTokens: between(20, 600),
      answerTokens: between(30, 350),
      thinkMs: waited(THINK_MS),
    }));
    const systemTokens = SYSTEM_TOKENS[agent] as number;
    return { name: `c${nth}`, user: `u${between(0, USERS)}`, model: drawModel(random()), agent, systemTokens, startMs, turns };
  });
}

function drawModel(at: number): string {
  let sum = 0;
  for (const { id, share } of MODELS) if (at < (sum += share)) return id;
  return (MODELS.at(-1) as TracedModel).id;
}
