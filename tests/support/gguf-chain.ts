/**
 * The numbers of a `chain`, a model that is wired by hand. Each thing that it must know of a token has a channel of its
 * own; from it the last layer reads what comes next: after a word the following one, after the last one the end, after
 * anything else the first one. Two heads of the first block look from a line's end for offered tools, and for a call that
 * was already made. All other layers pass on what they get, and cost as much as in a real model.
 *
 * C1. Every choice is so far ahead of the next that no usual sampling reaches it.
 * C2. Each token is equally long, so that normalization leaves the channels in proportion.
 */
import { END_OF_TURN, SPACE, type Vocabulary } from "./gguf-vocabulary.ts";
import { normals, type Shape, type Weights } from "./gguf-weights.ts";

const ONE = 0;
const OTHER = 1;
const NEWLINE = 2;
const TOOLS = 3;
const CALLED = 4;
const OPENS = 5;
const SEES_TOOLS = 6;
const SEES_CALL = 7;
const FIRST_WORD = 8;
/** Squared length of each token (C2); what its channels leave of it is noise, by which embeddings tell texts apart. */
const LENGTH_SQUARED = 8;
/** How far a token that is looked for is ahead in the exponent: e^40 to 1 against any number of others. */
const ATTENTION = 40;
/** Between two characters that a grammar allows; at temperature 1 the second has a chance of e^-8. */
const STEP = 8;
/** What a grammar is to choose first: what closes (`<` the call), then what goes on, then what makes a value longer. Blanks come last. */
const CHARACTERS = `}]"<,:0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ-_./>{[()'!?;=+*&%$#@^|~\`\\${SPACE}\n`;
/** Logits: of the word that is due, of a call that is due, of what nothing calls for. */
const DUE = 120;
const CALL_DUE = 240;
const QUOTE_AFTER_WORD = 60;
const UNCALLED = -1_000;
const NEVER = -2_000;
/** Weight of each of the three conditions under which a call is opened; missing one outweighs all else. */
const CONDITION = 1_500;

export function chainWeights(shape: Shape, vocabulary: Vocabulary, seed: number): Weights {
  const { width, heads, kvHeads } = shape;
  const noiseFrom = FIRST_WORD + vocabulary.words.length;
  if (noiseFrom >= width) throw new Error(`${vocabulary.words.length} words need a width of ${noiseFrom + 1} or more`);
  if (kvHeads < 2) throw new Error("two heads with keys of their own are needed");
  /** A channel's value after normalization. */
  const unit = Math.sqrt(width / LENGTH_SQUARED);
  const headWidth = width / heads;
  const key = Math.sqrt(ATTENTION * Math.sqrt(headWidth)) / unit;
  /** The last pair of a head's numbers: the rotation by position, slower from pair to pair, hardly moves it. */
  const still = headWidth - 2;
  return ({ name, layer, columns, rows }) => {
    const data = new Float32Array(columns * rows);
    const set = (row: number, column: number, value: number): void => void (data[row * columns + column] = value);
    if (name === "token_embd") fillTokens(data, vocabulary, { width, noiseFrom, seed });
    if (name === "output") forEachLogit(vocabulary, (token, channel, logit) => set(token, channel, logit / unit));
    if (layer !== 0) return data;
    const looks = [
      { query: 0, kv: 0, sought: TOOLS, found: SEES_TOOLS },
      { query: heads / kvHeads, kv: 1, sought: CALLED, found: SEES_CALL },
    ];
    for (const { query, kv, sought, found } of looks) {
      if (name === "attn_q") set(query * headWidth + still, NEWLINE, key);
      if (name === "attn_k") set(kv * headWidth + still, sought, key);
      if (name === "attn_v") set(kv * headWidth, sought, 1 / unit);
      if (name === "attn_output") set(found, query * headWidth, 1);
    }
    return data;
  };
}

function fillTokens(data: Float32Array, { tokens, words }: Vocabulary, place: { width: number; noiseFrom: number; seed: number }): void {
  const { width, noiseFrom, seed } = place;
  const wordAt = new Map(words.map((id, at) => [id, at]));
  for (const [id, { text }] of tokens.entries()) {
    const word = wordAt.get(id);
    const channels = [ONE, word === undefined ? OTHER : FIRST_WORD + word];
    if (text === "\n") channels.push(NEWLINE);
    if (text === "<tools>") channels.push(TOOLS);
    if (text === "<tool_call>" || text === "<tool_response>") channels.push(CALLED);
    if (text === "<tool_call>") channels.push(OPENS);
    const row = data.subarray(id * width, (id + 1) * width);
    const noise = row.subarray(noiseFrom);
    const next = normals(seed + id);
    for (const at of noise.keys()) noise[at] = next();
    const length = Math.sqrt(noise.reduce((sum, value) => sum + value * value, 0));
    for (const at of noise.keys()) noise[at] = ((noise[at] as number) * Math.sqrt(LENGTH_SQUARED - channels.length)) / length;
    for (const channel of channels) row[channel] = 1;
  }
}

/** What speaks for each token: `logit` as often as the channel is 1. */
function forEachLogit({ tokens, idOf, words }: Vocabulary, give: (token: number, channel: number, logit: number) => void): void {
  for (const [id, { text, kind }] of tokens.entries()) {
    if (kind === "character") give(id, ONE, rank(text));
    else give(id, ONE, kind === "word" ? UNCALLED : NEVER);
  }
  const end = idOf(END_OF_TURN);
  // Where a grammar allows the end, it is due; else the end is no choice.
  give(end, ONE, STEP);
  for (const [at, word] of words.entries()) {
    give(word, at === 0 ? OTHER : FIRST_WORD + at - 1, DUE - UNCALLED);
    // A string of JSON ends where the chain ends, or where its schema has no room for the next word.
    give(idOf('"'), FIRST_WORD + at, QUOTE_AFTER_WORD - rank('"'));
  }
  give(end, FIRST_WORD + words.length - 1, DUE - STEP);
  const call = idOf("<tool_call>");
  give(call, ONE, CALL_DUE - 2 * CONDITION);
  give(call, NEWLINE, CONDITION);
  give(call, SEES_TOOLS, CONDITION);
  give(call, SEES_CALL, -2 * CONDITION);
  // The engine takes a call from the line after its opening.
  give(idOf("\n"), OPENS, CALL_DUE - rank("\n"));
}

function rank(character: string): number {
  return -STEP * CHARACTERS.indexOf(character);
}
