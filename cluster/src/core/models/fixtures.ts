/** Models, loads and needs for the tests of this folder. */
import type { NodeId } from "@openclaw-cluster/contract/ids";
import type { LentModel } from "@openclaw-cluster/contract/models";
import fc from "fast-check";
import type { ModelNeeds } from "./model-needs.ts";
import type { PlaceLoad } from "./predict.ts";

export function lent(node: string, id: string, more: Partial<LentModel> = {}): LentModel {
  return {
    node: node as NodeId,
    id,
    endpoint: "ollama",
    server: "ollama",
    sizeBytes: 5e9,
    can: { chat: true, tools: true, vision: false, json: true, embeddings: false },
    state: "loaded",
    slots: { total: 2, busy: 0 },
    ...more,
  };
}

export const IDLE: PlaceLoad = {
  roundTripMs: 1,
  inFlight: 0,
  inFlightMs: 0,
  queued: 0,
  queuedMs: 0,
  beside: 0,
  besideMs: 0,
  displacesMs: 0,
};

export const CHAT: ModelNeeds = {
  path: "chat",
  promptTokens: 2_000,
  outputTokens: 500,
  contextTokens: 2_500,
  tools: false,
  vision: false,
  json: false,
};

export const anyLoad: fc.Arbitrary<PlaceLoad> = fc.record({
  roundTripMs: fc.nat(100),
  inFlight: fc.nat(6),
  inFlightMs: fc.nat(60_000),
  queued: fc.nat(6),
  queuedMs: fc.nat(60_000),
  beside: fc.nat(4),
  besideMs: fc.nat(60_000),
  displacesMs: fc.nat(20_000),
});

export const anyModel: fc.Arbitrary<LentModel> = fc
  .record({
    node: fc.constantFrom("a", "b", "c", "d"),
    id: fc.constantFrom("small", "large"),
    sizeBytes: fc.integer({ min: 1e9, max: 40e9 }),
    contextTokens: fc.constantFrom(1_024, 4_096, 32_768),
    state: fc.constantFrom("loaded" as const, "loading" as const, "cold" as const),
    can: fc.record({ chat: fc.boolean(), tools: fc.boolean(), vision: fc.boolean(), json: fc.boolean(), embeddings: fc.boolean() }),
    slots: fc.record({ total: fc.integer({ min: 1, max: 4 }), busy: fc.nat(4) }),
  })
  .map(({ node, id, ...more }) => lent(node, id, more));

export const anyNeeds: fc.Arbitrary<ModelNeeds> = fc.record({
  path: fc.constantFrom("chat" as const, "responses" as const, "embeddings" as const),
  promptTokens: fc.nat(40_000),
  outputTokens: fc.nat(8_192),
  contextTokens: fc.nat(40_000),
  tools: fc.boolean(),
  vision: fc.boolean(),
  json: fc.boolean(),
});
