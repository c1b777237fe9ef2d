/**
 * How many tokens a text may be. An estimate: every model cuts text in its own way, and the router has none of their
 * tokenizers. It rather says too many than too few, because a prompt beyond the context is cut in silence by some servers.
 *
 * T1. More text is never fewer tokens.
 */

/** English prose and code in the tokenizers of Llama 3, Qwen and GPT: 4 to 4.5 characters a token. */
const ASCII_CHARS_PER_TOKEN = 4;
/** Chinese, Japanese and Korean: 1.3 to 1.8. */
const CJK_CHARS_PER_TOKEN = 1.5;
/** Cyrillic, Greek, Arabic, accents and the halves of emoji: about 2. */
const OTHER_CHARS_PER_TOKEN = 2;

const ASCII_END = 0x80;
/** From the CJK radicals on: ideographs, kana, hangul. Surrogates, from D800, are counted as other, two to a character. */
const CJK_START = 0x2e80;
const CJK_END = 0xd800;
/** Compatibility ideographs, and the full-width forms. */
const WIDE_START = 0xf900;

/** Not rounded, so that many short texts are not each rounded up. */
export function textTokens(text: string): number {
  let ascii = 0;
  let cjk = 0;
  for (let at = 0; at < text.length; at++) {
    const code = text.charCodeAt(at);
    if (code < ASCII_END) ascii++;
    else if ((code >= CJK_START && code < CJK_END) || code >= WIDE_START) cjk++;
  }
  return ascii / ASCII_CHARS_PER_TOKEN + cjk / CJK_CHARS_PER_TOKEN + (text.length - ascii - cjk) / OTHER_CHARS_PER_TOKEN;
}
