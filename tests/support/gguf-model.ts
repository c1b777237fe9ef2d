/**
 * Language models for a real llama.cpp in tests, made on the spot: no weights lie in the repository.
 *
 * M1. A `chain` answers everything with its words, each after a space, and ends; at any usual sampling. With tools
 *     offered it calls one first, with arguments that fit, and answers when the conversation holds a call or its result.
 *     Held to a schema it gives JSON that fits, with the words for each string.
 * M2. A `random` model says plain words without sense, another thing for each seed of a request, and ends by itself.
 * M3. A file in the cache is whole: it is written elsewhere and renamed into place.
 */
import { createHash } from "node:crypto";
import { existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, renameSync, rmSync, statSync, utimesSync } from "node:fs";
import { join } from "node:path";
import { cacheFolder } from "../../cluster/src/system/folders.ts";
import { writeModel, type ModelOptions } from "./gguf-llama.ts";

const ALPHABET =
  "alpha bravo charlie delta echo foxtrot golf hotel india juliett kilo lima mike november oscar papa quebec romeo sierra tango";
const SMALL = {
  layers: 2,
  width: 64,
  heads: 4,
  kvHeads: 4,
  feedForward: 128,
  contextTokens: 8_192,
  type: "f32",
  paddingTokens: 0,
} as const;
/** `baba`, `babe`: words of syllables, as many as a long answer needs. */
const syllables = ["b", "d", "f", "g", "k", "l", "m", "n", "p", "r"].flatMap((sound) =>
  ["a", "e", "i", "o", "u"].map((vowel) => sound + vowel),
);
const LONG_WORDS = 400;

/** About 3,000 tokens a second on one core, so that an answer is there at once. */
export const CHAIN: ModelOptions = { ...SMALL, name: "tiny-chain", answers: "chain", words: ALPHABET.split(" "), seed: 1, replyTokens: 0 };
/** As fast, and another answer for each seed. */
export const TINY: ModelOptions = {
  ...SMALL,
  name: "tiny-random",
  answers: "random",
  words: (
    "the a one some many every old new small large red green blue quiet quick slow bright dark river mountain forest garden house " +
    "road bridge city village ship train letter book story song word number answer question morning evening summer winter rain snow " +
    "wind cloud light stone water fire bread apple bird horse fish child friend teacher farmer sailor king runs walks sings waits reads " +
    "writes opens closes finds loses keeps gives takes makes builds follows under over near beyond with without before after and or but"
  ).split(" "),
  seed: 1,
  replyTokens: 40,
};
/**
 * 400 words at about 250 a second, and 600 tokens of a prompt: for what happens in the middle of a stream. 56 MB, written in a
 * second. With `ignore_eos` a request is answered until its slot is full, with the words over and over.
 */
export const PACED: ModelOptions = {
  ...{ name: "paced-chain", answers: "chain", seed: 1, replyTokens: 0, contextTokens: 32_768 },
  ...{ layers: 8, width: 512, heads: 8, kvHeads: 4, feedForward: 1_024, type: "f16", paddingTokens: 8_000 },
  words: syllables.flatMap((first) => syllables.map((second) => first + second)).slice(0, LONG_WORDS),
};

/** What a chain says. */
export const chainText = ({ words }: ModelOptions): string => words.map((word) => ` ${word}`).join("");

/** A file that no test has used for this long is of an earlier version of these sources. */
const KEPT_MS = 7 * 24 * 3_600_000;
const SOURCES = ["gguf.ts", "gguf-chain.ts", "gguf-llama.ts", "gguf-vocabulary.ts", "gguf-weights.ts"];

/** The model's file, in the project's cache, written if it is not there. */
export function modelFile(options: ModelOptions): string {
  const folder = join(cacheFolder(process.env), "test-models");
  const hash = createHash("sha256").update(JSON.stringify(options));
  for (const source of SOURCES) hash.update(readFileSync(join(import.meta.dirname, source)));
  const name = `${options.name}-${hash.digest("hex").slice(0, 16)}.gguf`;
  const path = join(folder, name);
  mkdirSync(folder, { recursive: true });
  if (!existsSync(path)) {
    removeOld(folder);
    const draft = mkdtempSync(join(folder, ".incoming-"));
    try {
      writeModel(join(draft, name), options);
      // Whoever writes the same at the same time writes the same bytes.
      renameSync(join(draft, name), path);
    } finally {
      rmSync(draft, { recursive: true, force: true });
    }
  }
  utimesSync(path, new Date(), new Date());
  return path;
}

function removeOld(folder: string): void {
  for (const name of readdirSync(folder)) {
    const seen = statSync(join(folder, name), { throwIfNoEntry: false })?.mtimeMs ?? Infinity;
    if (Date.now() - seen > KEPT_MS) rmSync(join(folder, name), { recursive: true, force: true });
  }
}
