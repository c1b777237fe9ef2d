/**
 * Prompts to measure with, of about as many tokens as wished.
 *
 * B1. No cache has one of them: it begins by chance, and goes on by chance.
 * B2. It asks for a long answer, so that a model writes as much as it may.
 */

/** Common and short: with the blank before it each is one token for the models of today. Sixty-four, so that one holds six bits of chance. */
const WORDS = (
  "the of and to in is that it was for on are with as his they be at one have this from had by hot word but what some we can out " +
  "other were all there when up use your how said an each she which do their time if will way about many then them write would like into him see two more"
).split(" ");
const TASK = "These words mean nothing. Tell a long story about a lighthouse, without a heading.";
/** Of the task, and of what servers put around a question. */
const AROUND_TOKENS = 30;

/** `random`: from 0 to below 1. */
export function benchPrompt(tokens: number, random: () => number): string {
  const words = Array.from({ length: Math.max(BEGINNING_WORDS, tokens - AROUND_TOKENS) }, () => WORDS[Math.floor(random() * WORDS.length)]);
  return `${words.join(" ")}\n\n${TASK}`;
}

/** B1: 48 bits of chance, also in the shortest. */
const BEGINNING_WORDS = 8;
