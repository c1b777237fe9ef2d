/**
 * The vocabulary of the test models, in the way of SentencePiece: control tokens, one token for each byte, each printable
 * character and each word of the model.
 *
 * V1. Token counts can be told beforehand: 1 for a word of the model with the space before it, or for so much of a word
 *     as is the beginning of one; 1 for any other character; 1 for each byte of a character outside ASCII.
 */

export interface Token {
  readonly text: string;
  readonly kind: "unknown" | "control" | "byte" | "character" | "word" | "prefix" | "padding";
}

export interface Vocabulary {
  readonly tokens: readonly Token[];
  idOf(text: string): number;
  /** Ids of the words, in their order. */
  readonly words: readonly number[];
}

/** SentencePiece writes a space so. */
export const SPACE = "\u2581";
export const END_OF_TURN = "<|im_end|>";
/** Their ids are their places here, which stand in the model's keys too. */
export const CONTROLS = [
  ...["<unk>", "<s>", "</s>", "<|im_start|>", END_OF_TURN],
  ...["<tool_call>", "</tool_call>", "<tools>", "<tool_response>"],
] as const;
/** The format's own numbers for the kinds of tokens. */
const TYPE: Readonly<Record<Token["kind"], number>> = { character: 1, word: 1, prefix: 1, unknown: 2, control: 3, padding: 5, byte: 6 };

/** `paddingTokens`: so many that nothing uses; they make the last layer as slow as that of a real model. */
export function buildVocabulary(words: readonly string[], paddingTokens: number): Vocabulary {
  const tokens: Token[] = CONTROLS.map((text, id) => ({ text, kind: id === 0 ? "unknown" : "control" }));
  const add = (kind: Token["kind"], texts: Iterable<string>): void => {
    for (const text of texts) tokens.push({ text, kind });
  };
  add(
    "byte",
    Array.from({ length: 256 }, (_, byte) => `<0x${byte.toString(16).toUpperCase().padStart(2, "0")}>`),
  );
  add("character", [...Array.from({ length: 94 }, (_, at) => String.fromCharCode(0x21 + at)), SPACE, "\n"]);
  const whole = words.map((word) => SPACE + word);
  add("word", whole);
  // The tokenizer joins two neighbours at a time, so it reaches a word only through all of its beginnings.
  const beginnings = new Set(whole.flatMap((word) => Array.from({ length: word.length - 2 }, (_, at) => word.slice(0, at + 2))));
  add("prefix", beginnings.difference(new Set(whole)));
  add(
    "padding",
    Array.from({ length: paddingTokens }, (_, at) => `<pad_${at}>`),
  );
  const ids = new Map(tokens.map(({ text }, id) => [text, id]));
  if (ids.size !== tokens.length) throw new Error("the words of a model must differ from each other");
  const idOf = (text: string): number => {
    const id = ids.get(text);
    if (id === undefined) throw new Error(`no token ${JSON.stringify(text)}`);
    return id;
  };
  return { tokens, idOf, words: whole.map(idOf) };
}

export const typesOf = ({ tokens }: Vocabulary): number[] => tokens.map(({ kind }) => TYPE[kind]);
