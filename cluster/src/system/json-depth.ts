/**
 * How deep a JSON text is nested, before anybody parses it: the engine's parser takes a microsecond for each level, so that eight
 * megabytes of `[` would stand still everything else for seconds. Looks at brackets only; whether it is JSON, the parser says.
 */

/** No value is deeper than JSON_DEPTH_MAX; around it stand a few levels of a message. */
export const TEXT_DEPTH_MAX = 256;
/** A shorter text cannot hold up anybody for long: it is not looked at. */
const SHORT_BYTES = 1024;

const [QUOTE, BACKSLASH] = [0x22, 0x5c];
/** `[` and `{` differ in this bit, and so do `]` and `}`. */
const CURLY = 0x20;
const [OPEN, CLOSE] = [0x7b, 0x7d];

/** Plain loops, the inner one for what most of a text is: calls into the engine for each string took twice as long. */
export function isTooDeep(text: Uint8Array): boolean {
  const { length } = text;
  if (length <= SHORT_BYTES) return false;
  let depth = 0;
  for (let at = 0; at < length; at += 1) {
    let byte = text[at];
    if (byte === QUOTE) {
      do {
        byte = text[++at];
        if (byte === BACKSLASH) at += 1;
      } while (byte !== QUOTE && at < length);
    } else if (((byte as number) | CURLY) === OPEN) {
      depth += 1;
      if (depth > TEXT_DEPTH_MAX) return true;
    } else if (((byte as number) | CURLY) === CLOSE) {
      depth -= 1;
    }
  }
  return false;
}
