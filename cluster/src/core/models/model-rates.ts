/**
 * How quick a place is, learned from what it did: reading a prompt, writing an answer, loading the model. Moving averages of
 * logarithms, so that twice as slow and twice as quick weigh the same.
 *
 * L1. One measurement, however wild, moves an average by no more than OUTLIER_FACTOR, but for the very first of a place.
 * L2. What was learned of one model at an endpoint shifts the guess about its others: a slow machine is slow for all.
 * L3. Guesses are optimistic: an unknown place is tried, and one look says more than any table of hardware.
 * L4. Nothing grows: the places that taught nothing for longest are forgotten.
 */
import type { LentModel, ModelServerKind } from "@openclaw-cluster/contract/models";
import { SIZE_BYTES_DEFAULT } from "./auto-groups.ts";
import { placeKey } from "./place.ts";

export type RatedModel = Pick<LentModel, "node" | "endpoint" | "id" | "server" | "sizeBytes" | "quantization">;

/** The newest measurement's share once there are some; the last ten or so count. */
const NEWEST_SHARE = 0.2;
const OUTLIER_FACTOR = 4;
/** Places and endpoints remembered: a hundred nodes with forty models each, at about 300 bytes. */
const RATES_MAX = 4_096;
/** Below this many tokens the time to the first one is overhead, not reading. */
const READ_TOKENS_MIN = 64;
/** As few tokens as still tell a speed. */
const WRITTEN_TOKENS_MIN = 8;

/** L3. Writing reads all weights for each token: what a good Mac's memory gives (M4 Max: 546 GB/s, RTX 4090: 1,008). */
const MEMORY_BYTES_PER_S = 400e9;
/** L3. Reading a prompt takes two operations a weight and token; a good machine's, in practice. */
const OPERATIONS_PER_S = 40e12;
/** L3. From a fast disk, as much as a mapped file gives. */
const LOAD_BYTES_PER_S = 2e9;
/** Start of the runner, and the first allocation. */
const LOAD_BASE_MS = 1_000;

/** How much each further request side by side slows the others: batched engines hardly, one-at-a-time ones fully. */
const CROWDING: Readonly<Record<ModelServerKind, number>> = { vllm: 0.1, llamacpp: 0.5, ollama: 0.5, lmstudio: 0.5, mlx: 1, openai: 0.3 };

type Quality = "readMs" | "writeMs" | "loadMs";

/** Of a logarithm. */
interface Mean {
  measured: number;
  value: number;
}

export class ModelRates {
  private readonly means = new Map<string, Mean>();

  /** Milliseconds to read one token of a prompt, alone. */
  readMs(model: RatedModel): number {
    return this.expected(model, "readMs");
  }

  /** Milliseconds to write one token, beside so many others on the endpoint. */
  writeMs(model: RatedModel, beside: number): number {
    return this.expected(model, "writeMs") * crowding(model.server, beside);
  }

  loadMs(model: RatedModel): number {
    return this.expected(model, "loadMs");
  }

  /** `ms`: from when the server began until its first token, with the model loaded. `promptTokens`: those not cached. */
  learnRead(model: RatedModel, promptTokens: number, ms: number, beside: number): void {
    if (promptTokens < READ_TOKENS_MIN) return;
    this.learn(model, "readMs", ms / promptTokens / crowding(model.server, beside));
  }

  /** `ms`: between the first token and the last. `beside`: others at the endpoint meanwhile, on average. */
  learnWrite(model: RatedModel, tokens: number, ms: number, beside: number): void {
    if (tokens < WRITTEN_TOKENS_MIN) return;
    this.learn(model, "writeMs", ms / tokens / crowding(model.server, beside));
  }

  learnLoad(model: RatedModel, ms: number): void {
    this.learn(model, "loadMs", ms);
  }

  private expected(model: RatedModel, quality: Quality): number {
    const own = this.means.get(`${quality} ${placeKey(model)}`);
    if (own !== undefined) return Math.exp(own.value);
    const shift = this.means.get(endpointKey(model, quality)); // L2
    return guess(model, quality) * Math.exp(shift?.value ?? 0);
  }

  private learn(model: RatedModel, quality: Quality, ms: number): void {
    if (!(ms > 0 && ms < Infinity)) return;
    this.add(`${quality} ${placeKey(model)}`, Math.log(ms));
    this.add(endpointKey(model, quality), Math.log(ms / guess(model, quality)));
  }

  private add(key: string, value: number): void {
    const mean = this.means.get(key) ?? { measured: 0, value };
    // L4: the last to be learned is the last in the map.
    this.means.delete(key);
    this.means.set(key, mean);
    if (this.means.size > RATES_MAX) this.means.delete(this.means.keys().next().value as string);
    mean.measured++;
    const step = (value - mean.value) * Math.max(NEWEST_SHARE, 1 / mean.measured);
    const limit = Math.log(OUTLIER_FACTOR); // L1
    mean.value += Math.max(-limit, Math.min(limit, step));
  }

  get size(): number {
    return this.means.size;
  }
}

export function crowding(server: ModelServerKind, beside: number): number {
  return 1 + CROWDING[server] * Math.max(0, beside);
}

const endpointKey = ({ node, endpoint }: RatedModel, quality: Quality): string => `${quality} ${JSON.stringify([node, endpoint])}`;

function guess({ sizeBytes = SIZE_BYTES_DEFAULT, quantization }: RatedModel, quality: Quality): number {
  // A file of nothing is a server's mistake.
  const bytes = sizeBytes > 0 ? sizeBytes : SIZE_BYTES_DEFAULT;
  switch (quality) {
    case "readMs":
      return ((2 * bytes) / bytesPerWeight(quantization) / OPERATIONS_PER_S) * 1_000;
    case "writeMs":
      return (bytes / MEMORY_BYTES_PER_S) * 1_000;
    case "loadMs":
      return LOAD_BASE_MS + (bytes / LOAD_BYTES_PER_S) * 1_000;
  }
}

/** `Q4_K_M`, `4bit`, `IQ3_XS`, `F16`, `FP8`: the first number is bits, and half a bit is for the scales. */
export function bytesPerWeight(quantization: string | undefined): number {
  const bits = Number(/\d+/.exec(quantization ?? "")?.[0] ?? 4);
  if (!(bits >= 1 && bits <= 32)) return 4.5 / 8;
  return (bits >= 16 ? bits : bits + 0.5) / 8;
}
