/**
 * What the numbers of a test model are, and those of a random one: noise, held to plain words and an end by one channel
 * that is the same for every token. (Those of a chain: gguf-chain.ts.)
 *
 * W1. The same seed gives the same numbers, bit for bit.
 */
import { END_OF_TURN, type Token, type Vocabulary } from "./gguf-vocabulary.ts";

export interface Shape {
  readonly layers: number;
  /** Numbers for each token; a multiple of `heads`. */
  readonly width: number;
  readonly heads: number;
  readonly kvHeads: number;
  readonly feedForward: number;
}

export interface Matrix {
  /** `token_embd`, `attn_q`: without the layer and the ending. */
  readonly name: string;
  readonly layer: number;
  readonly columns: number;
  readonly rows: number;
}

/** The numbers of a matrix, row by row. */
export type Weights = (matrix: Matrix) => Float32Array;

/** The channel that is the same for every token; no layer writes to it. */
const STEADY = 0;
/** Spread of the words' logits: some are more usual, all are met. */
const SPREAD = 1;
/** Of full stop and comma: about every tenth token. */
const PUNCTUATION = 2;
const NEVER_SAMPLED = -40;

/** `replyTokens`: how long an answer is on average. Sampling that leaves out what is rare makes long ones longer. */
export function randomWeights({ width }: Shape, vocabulary: Vocabulary, seed: number, replyTokens: number): Weights {
  const wordsWeight = vocabulary.words.length * Math.exp((SPREAD * SPREAD) / 2);
  const bias = ({ text, kind }: Token): number => {
    if (kind === "word") return 0;
    if (text === END_OF_TURN) return Math.log(wordsWeight / replyTokens);
    return text === "." || text === "," ? PUNCTUATION : NEVER_SAMPLED;
  };
  return ({ name, layer, columns, rows }) => {
    const data = new Float32Array(columns * rows);
    const next = normals(Buffer.from(`${name}${layer}`).reduce((hash, byte) => Math.imul(hash, 31) + byte, seed));
    // The rest of a token is about as long as its constant channel: each is √(width/2) after normalization.
    const addsToStream = name === "attn_output" || name === "ffn_down";
    const scale =
      name === "token_embd" ? 1 : name === "output" ? SPREAD * Math.sqrt(2 / width) : (addsToStream ? 0.5 : 1) / Math.sqrt(columns);
    for (let row = 0; row < rows; row += 1) {
      const token = vocabulary.tokens[row];
      const isStill = (addsToStream && row === STEADY) || (name === "output" && token?.kind !== "word");
      for (let at = row * columns; at < (row + 1) * columns && !isStill; at += 1) data[at] = next() * scale;
      if (name === "token_embd") data[row * columns + STEADY] = Math.sqrt(width);
      if (name === "output" && token !== undefined) data[row * columns + STEADY] = bias(token) / Math.sqrt(width / 2);
    }
    return data;
  };
}

/** Nearly normal numbers from a seed: sums of four even ones (mulberry32), so that no library's logarithm decides a bit. */
export function normals(seed: number): () => number {
  let state = seed >>> 0;
  const even = (): number => {
    state = (state + 0x6d2b_79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
  return () => (even() + even() + even() + even() - 2) * Math.sqrt(3);
}
