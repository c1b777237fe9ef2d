import { describe, expect, it } from "vitest";
import { lent } from "./fixtures.ts";
import { resolveModel, type Aliases } from "./model-names.ts";
import { editDistance, nearNames, NEAR_NAMES_MAX } from "./near-names.ts";

const embedder = { chat: false, tools: false, vision: false, json: false, embeddings: true };
const plain = { chat: true, tools: false, vision: false, json: false, embeddings: false };
const MODELS = [
  lent("studio", "qwen3:32b", { sizeBytes: 20e9 }),
  lent("laptop", "qwen3:8b", { sizeBytes: 5e9, digest: "d8" }),
  lent("studio", "Qwen3-8B-GGUF", { sizeBytes: 5.5e9, endpoint: "lmstudio", digest: "d8" }),
  lent("laptop", "gemma3:latest", { sizeBytes: 3e9, can: plain }),
  lent("laptop", "nomic-embed", { sizeBytes: 3e8, can: embedder }),
  lent("mini", "nomic-embed", { sizeBytes: 3e8, can: embedder }),
  lent("mini", "bge-m3", { sizeBytes: 1e9, can: embedder }),
];

/** Groups of `id@node`. */
function found(name: unknown, aliases: Aliases = {}): string[][] {
  const named = resolveModel(name, MODELS, aliases);
  return named.kind === "refused" ? [] : named.groups.map(({ models }) => models.map(({ id, node }) => `${id}@${node}`));
}

function refused(name: unknown, aliases: Aliases = {}) {
  const named = resolveModel(name, MODELS, aliases);
  return named.kind === "refused" ? named : undefined;
}

describe("an id (M2)", () => {
  it("is found as written, then without case, then without :latest", () => {
    expect(found("qwen3:32b")).toEqual([["qwen3:32b@studio"]]);
    expect(found("QWEN3:32B")).toEqual([["qwen3:32b@studio"]]);
    expect(found("gemma3")).toEqual([["gemma3:latest@laptop"]]);
    expect(found("nomic-embed:latest")).toEqual([["nomic-embed@laptop", "nomic-embed@mini"]]);
  });

  it("is found under the names of the same digest (M3), but not on another node than asked for", () => {
    expect(found("qwen3:8b")).toEqual([["qwen3:8b@laptop", "Qwen3-8B-GGUF@studio"]]);
    expect(found("qwen3:8b@laptop")).toEqual([["qwen3:8b@laptop"]]);
    expect(found("qwen3:8b@studio")).toEqual([]);
    expect(found("nomic-embed@Mini")).toEqual([["nomic-embed@mini"]]);
  });

  it("may hold an @ itself", () => {
    const models = [lent("a", "qwen@q4"), lent("q4", "qwen")];
    expect(resolveModel("qwen@q4", models, {})).toMatchObject({ kind: "found", groups: [{ models: [{ node: "a" }] }] });
  });
});

describe("auto", () => {
  it("goes by size, the largest first, and leaves out what cannot", () => {
    expect(found("auto")).toEqual([["qwen3:32b@studio"], ["Qwen3-8B-GGUF@studio", "qwen3:8b@laptop", "gemma3:latest@laptop"]]);
    expect(found("auto:tools").flat()).not.toContain("gemma3:latest@laptop");
    expect(found("auto").flat()).not.toContain("bge-m3@mini");
  });

  it("never mixes two models for embeddings (A2)", () => {
    expect(found("auto:embed")).toEqual([["nomic-embed@laptop", "nomic-embed@mini"], ["bge-m3@mini"]]);
  });
});

describe("an alias", () => {
  const aliases: Aliases = {
    fast: ["gone:1b", "gemma3", "qwen3:32b@studio", "auto:tools"],
    loop: ["loop"],
    auto: ["gemma3"],
    dead: ["x", "y"],
  };

  it("gives its fallbacks in their order", () => {
    expect(found("fast", aliases).slice(0, 2)).toEqual([["gemma3:latest@laptop"], ["qwen3:32b@studio"]]);
    expect(found("Fast", aliases)).toEqual(found("fast", aliases));
  });

  it("comes before auto, leads in no circle (M4), and is no property of objects", () => {
    expect(found("auto", aliases)).toEqual([["gemma3:latest@laptop"]]);
    expect(found("loop", aliases)).toEqual([]);
    expect(found("constructor", aliases)).toEqual([]);
    expect(refused("dead", aliases)?.detail).toBe("dead stands for x, y, and no node lends any of them");
  });
});

describe("a refusal", () => {
  it.each([undefined, 3, "", " ", {}, "x".repeat(400), "https://evil.example/v1", "file:/etc/passwd", "foo://bar"])(
    "%j is no name (M5)",
    (name) => {
      expect(refused(name)?.reason).toBe("not_a_name");
    },
  );

  it("tells near names", () => {
    expect(refused("qwen3:23b")).toMatchObject({ reason: "unknown_model", near: expect.arrayContaining(["qwen3:32b", "qwen3:8b"]) });
    expect(refused("qwen3")?.near).toEqual(["qwen3:8b", "qwen3:32b", "Qwen3-8B-GGUF"]);
    expect(refused("completely-else")?.near).toEqual([]);
  });

  it("tells no more than a few, and is not stopped by long names (N1)", () => {
    const many = Array.from({ length: 50_000 }, (_, i) => `model-${i}-${"x".repeat(200)}`);
    expect(nearNames("model-1", many)).toHaveLength(NEAR_NAMES_MAX);
  });

  it("counts wrong letters", () => {
    expect(editDistance("kitten", "sitting")).toBe(3);
    expect(editDistance("", "abc")).toBe(3);
  });
});

it("what costs money is found only where an alias names it (M6)", () => {
  const models = [lent("office", "gpt", { paid: true }), lent("b", "small")];
  const ids = (name: string, aliases: Aliases = {}): string[] => {
    const named = resolveModel(name, models, aliases);
    return named.kind === "found" ? named.groups.flatMap((group) => group.models.map(({ id }) => id)) : [named.reason];
  };
  expect([ids("gpt"), ids("gpt@office"), ids("auto")]).toEqual([["unknown_model"], ["unknown_model"], ["small"]]);
  expect(ids("smart", { smart: ["auto", "gpt"] })).toEqual(["small", "gpt"]);
  for (const name of ["gpt", "gpt@office"])
    expect(resolveModel(name, models, {})).toMatchObject({ detail: expect.stringContaining("costs money") as string });
});
