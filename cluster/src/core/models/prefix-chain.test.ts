import fc from "fast-check";
import { describe, expect, it } from "vitest";
import type { NodeId } from "@openclaw-cluster/contract/ids";
import { BLOCK_CHARS, chainOf, prefixChain, PrefixMemory, type BlockHash } from "./prefix-chain.ts";
import { promptParts } from "./prompt-parts.ts";

/** A hash that never collides: all that came before. */
const all: BlockHash = (previous, block) => `${previous}|${block}`;
const here = { node: "a" as NodeId, endpoint: "ollama", id: "m" };
const there = { ...here, node: "b" as NodeId };
/** Each letter is a block. */
const chain = (letters: string, tail = "") => chainOf(Array.from(letters, (letter) => letter.repeat(BLOCK_CHARS)).join("") + tail, all);

describe("a chain", () => {
  it("is one hash a whole block, over all before it", () => {
    expect(chain("ab", "c")).toMatchObject({ blocks: 3, hashes: { length: 2 } });
    expect(chain("xb").hashes[1]).not.toBe(chain("ab").hashes[1]);
  });

  it("of a longer conversation goes on from the shorter one (R3)", () => {
    const messages = [
      { role: "system", content: "s".repeat(2_000) },
      { role: "user", content: "u".repeat(2_000) },
    ];
    const tools = [{ type: "function", function: { name: "f" } }];
    const made = (more: object[], withTools = tools) =>
      prefixChain(promptParts("chat", { messages: [...messages, ...more], tools: withTools }), all).hashes;
    const shorter = made([]);
    expect(made([{ role: "assistant", content: "a".repeat(2_000) }]).slice(0, shorter.length)).toEqual(shorter);
    // Tools stand behind the system prompt, before what is said.
    const others = made([], [{ type: "function", function: { name: "g" } }]);
    expect(others[0]).toBe(shorter[0]);
    expect(others.at(-1)).not.toBe(shorter.at(-1));
  });
});

describe("a memory", () => {
  it("knows the share that was sent there, until it is forgotten", () => {
    const memory = new PrefixMemory();
    memory.remember(here, chain("ab"), 100);
    expect(memory.hit(here, chain("abcd"), 0)).toBe(0.5);
    expect(memory.hit(here, chain("ab", "tail"), 0)).toBeCloseTo(2 / 3); // H2
    expect(memory.hit(here, chain("xb"), 0)).toBe(0);
    expect(memory.hit(there, chain("ab"), 0)).toBe(0);
    expect(memory.hit(here, chain("ab"), 100)).toBe(0);
    memory.remember(here, chain("ab"), 200);
    memory.forget(here);
    expect(memory.hit(here, chain("ab"), 0)).toBe(0);
    memory.remember(here, chain("ab"), 200);
    memory.forgetNode(here.node);
    expect(memory.hit(here, chain("ab"), 0)).toBe(0);
  });

  it("forgets the tail of the oldest first, and holds no more than the place (H1, H3)", () => {
    const memory = new PrefixMemory();
    memory.remember(here, chain("abcd"), 100, 4);
    memory.remember(here, chain("xy"), 100, 4);
    expect(memory.hit(here, chain("xy"), 0)).toBe(1);
    expect(memory.hit(here, chain("abcd"), 0)).toBe(0.5);
    const long = chainOf("x".repeat(BLOCK_CHARS * 10), (previous) => `${previous}.`);
    memory.remember(there, long, 100, 3);
    expect(memory.hit(there, long, 0)).toBe(0.3);
  });

  it("never knows less of a prompt for having read it, nor a part without what is before it", () => {
    const letters = fc.string({ unit: fc.constantFrom("a", "b"), maxLength: 6 });
    fc.assert(
      fc.property(fc.array(letters, { maxLength: 8 }), letters, letters, fc.integer({ min: 1, max: 12 }), (before, asked, more, limit) => {
        const memory = new PrefixMemory();
        for (const one of before) memory.remember(here, chain(one), 100, limit);
        const known = (text: string): number => Math.round(memory.hit(here, chain(text), 0) * text.length);
        // A longer prompt has at least as many known blocks, and all of its beginning's.
        expect(known(asked + more)).toBeGreaterThanOrEqual(known(asked));
        if (known(asked) < asked.length) expect(known(asked + more)).toBe(known(asked));
        const then = known(asked);
        memory.remember(here, chain(asked), 100, limit);
        expect(known(asked)).toBe(Math.max(Math.min(limit, asked.length), known(asked)));
        expect(known(asked)).toBeGreaterThanOrEqual(Math.min(then, limit));
      }),
    );
  });
});
