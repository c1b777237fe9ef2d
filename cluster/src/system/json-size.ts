/**
 * How much there is in a JSON text to be made when it is parsed, before anybody does: sixteen megabytes of `{}` take the engine a
 * second, of one long text a hundredth of that. Lists, objects and fields are counted, not the elements of a list: lists of numbers are
 * long, and cheap. Whether it is JSON, the parser says.
 */
const [QUOTE, BACKSLASH] = [0x22, 0x5c];
/** `[` and `{` differ in this bit. */
const CURLY = 0x20;
const [OPEN, COLON] = [0x7b, 0x3a];

/** Plain loops, as in json-depth.ts. */
export function hasMoreThan(max: number, text: Uint8Array): boolean {
  const { length } = text;
  let count = 0;
  for (let at = 0; at < length; at += 1) {
    let byte = text[at];
    if (byte === QUOTE) {
      do {
        byte = text[++at];
        if (byte === BACKSLASH) at += 1;
      } while (byte !== QUOTE && at < length);
    } else if (byte === COLON || ((byte as number) | CURLY) === OPEN) {
      count += 1;
      if (count > max) return true;
    }
  }
  return false;
}
