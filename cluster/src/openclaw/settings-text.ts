/**
 * Reads OpenClaw's settings file, which is JSON5: comments, trailing commas, names without quotes, single quotes. The
 * text is rewritten piece by piece into JSON and then parsed by JSON.parse, so nothing in it is ever evaluated, and what
 * is neither stays an error.
 */

/** In this order: comment, "text", 'text', punctuation, word or number. */
const PIECE = /(\/\/[^\n]*|\/\*[\s\S]*?\*\/)|("(?:[^"\\]|\\[\s\S])*")|('(?:[^'\\]|\\[\s\S])*')|([{}[\]:,])|([^\s{}[\]:,"'/]+)|\s+|[\s\S]/g;

/** Throws SyntaxError, without any of the text, when it is not JSON5. */
export function parseSettings(text: string): unknown {
  const pieces: string[] = [];
  for (const [whole, comment, double, single, mark, word] of text.replace(/^\uFEFF/, "").matchAll(PIECE)) {
    if (comment !== undefined || whole.trim() === "") continue;
    if ((mark === "}" || mark === "]") && pieces.at(-1) === "," && !/^[{[]$/.test(pieces.at(-2) ?? "")) pieces.pop();
    if (mark === ":" && /^[\p{L}_$]/u.test(pieces.at(-1) ?? "")) pieces.push(JSON.stringify(pieces.pop()));
    pieces.push(double ? plainText(double.slice(1, -1)) : single ? plainText(single.slice(1, -1)) : word ? plainWord(word) : whole);
  }
  try {
    return JSON.parse(pieces.join(""));
  } catch {
    // The engine's message quotes the text, and the text holds secrets.
    throw new SyntaxError("neither JSON nor JSON5");
  }
}

/** The inside of a quoted text, with JSON5's further escapes, as JSON. */
function plainText(inside: string): string {
  const text = inside.replace(/\\(\r\n|x[0-9A-Fa-f]{2}|[\s\S])|"|[\u0000-\u001F]/g, (whole, escaped?: string) => {
    if (escaped === undefined) return JSON.stringify(whole).slice(1, -1);
    if (/^[\r\n\u2028\u2029]/.test(escaped)) return "";
    if (escaped.startsWith("x")) return `\\u00${escaped.slice(1)}`;
    if (escaped === "0") return "\\u0000";
    if (escaped === "v") return "\\u000b";
    return /["\\/bfnrtu]/.test(escaped) ? whole : JSON.stringify(escaped).slice(1, -1);
  });
  return `"${text}"`;
}

/** A number in one of JSON5's further forms, as JSON. Names and JSON's own words and numbers stay as they are. */
function plainWord(word: string): string {
  return /^[+-]?(0x[0-9A-Fa-f]+|\.\d+|\d+\.?\d*)(e[+-]?\d+)?$/i.test(word) ? String(toNumber(word)) : word;
}

function toNumber(word: string): number {
  const unsigned = Number(word.replace(/^[+-]/, ""));
  return word.startsWith("-") ? -unsigned : unsigned;
}
