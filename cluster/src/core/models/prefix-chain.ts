/**
 * Which beginning of a prompt a server has read before, as far as the router can know: a chain of hashes over blocks of the
 * prompt, each over all blocks before it too, and for each place the blocks that it was sent (the scheme of vLLM's prefix
 * cache and of Olla's sticky sessions).
 *
 * H1. A block is known at a place only if all blocks before it are: the tail of a prompt is forgotten before its head.
 * H2. A prompt's last, unfinished block counts as never read.
 * H3. A place remembers no more than it was said to hold, and never more than PLACE_BLOCKS_MAX.
 */
import { placeKey, type Place, type PlaceKey } from "./place.ts";
import type { PromptPart } from "./prompt-parts.ts";

/** About 128 tokens: fine enough for a turn of a conversation, and 110 hashes for an agent's prompt of 56 kB. */
export const BLOCK_CHARS = 512;
/** 1 MB of prompt, about 260,000 tokens: as long as the longest contexts at home. What is behind counts as never read. */
const CHAIN_BLOCKS_MAX = 2_048;
/** H3: four of the longest prompts, at about 100 bytes a block. */
export const PLACE_BLOCKS_MAX = 8_192;
/** Places remembered; the one that was sent nothing for longest goes first. */
const PLACES_MAX = 1_024;

/** The hash of a block behind another one: any that does not collide by accident. */
export type BlockHash = (previous: string, block: string) => string;

export interface PrefixChain {
  /** Of whole blocks, from the first. */
  readonly hashes: readonly string[];
  /** The unfinished one included (H2). */
  readonly blocks: number;
}

export function prefixChain(parts: readonly PromptPart[], hash: BlockHash): PrefixChain {
  return chainOf(parts.map(rendered).join("\n"), hash);
}

export function chainOf(text: string, hash: BlockHash): PrefixChain {
  const hashes: string[] = [];
  let previous = "";
  for (let end = BLOCK_CHARS; end <= text.length && hashes.length < CHAIN_BLOCKS_MAX; end += BLOCK_CHARS) {
    previous = hash(previous, text.slice(end - BLOCK_CHARS, end));
    hashes.push(previous);
  }
  return { hashes, blocks: Math.ceil(text.length / BLOCK_CHARS) };
}

/** Only for equality: a change that the model would see changes it. */
function rendered(part: PromptPart): string {
  switch (part.kind) {
    case "text":
    case "image":
      return part.text;
    case "message":
      return `<${part.role}>`;
    case "tool":
      return "<tool>";
    case "input":
      return `<${part.tokens}>`;
  }
}

interface Remembered {
  /** Hash to the time at which it is forgotten; those sent last are at the end. */
  readonly blocks: Map<string, number>;
  readonly place: Place;
}

export class PrefixMemory {
  private readonly places = new Map<PlaceKey, Remembered>();

  /** A prompt was sent there and read. `blocksMax`: what the place's cache holds, where that is known. */
  remember(place: Place, chain: PrefixChain, until: number, blocksMax = PLACE_BLOCKS_MAX): void {
    const key = placeKey(place);
    const found = this.places.get(key) ?? { blocks: new Map(), place };
    this.places.delete(key);
    this.places.set(key, found);
    if (this.places.size > PLACES_MAX) this.places.delete(this.places.keys().next().value as PlaceKey);
    const { blocks } = found;
    const limit = Math.max(0, Math.min(blocksMax, PLACE_BLOCKS_MAX));
    // H1: from the tail to the head, so that the head is the youngest.
    for (let at = Math.min(chain.hashes.length, limit) - 1; at >= 0; at--) {
      const hash = chain.hashes[at] as string;
      const known = blocks.get(hash);
      blocks.delete(hash);
      blocks.set(hash, known === undefined ? until : Math.max(known, until));
    }
    for (const hash of blocks.keys()) {
      if (blocks.size <= limit) break;
      blocks.delete(hash);
    }
  }

  /** The share of the prompt, 0…1, that the place need not read again. */
  hit(place: Place, chain: PrefixChain, now: number): number {
    const blocks = this.places.get(placeKey(place))?.blocks;
    if (blocks === undefined || chain.blocks === 0) return 0;
    let known = 0;
    for (const hash of chain.hashes) {
      if ((blocks.get(hash) ?? -Infinity) <= now) break;
      known++;
    }
    return known / chain.blocks;
  }

  /** The model was unloaded, and its cache with it. */
  forget(place: Place): void {
    this.places.delete(placeKey(place));
  }

  forgetNode(node: Place["node"]): void {
    for (const [key, { place }] of this.places) if (place.node === node) this.places.delete(key);
  }
}
