/**
 * Where a text stops being JSON, in words with line and column; the engine's own messages name a position for some
 * faults only. Runs after JSON.parse has refused the text. Linear in the text, and flat at any depth of nesting.
 */
const SPACE = /[ \t\n\r]*/y;
const STRING = /"[^"\\\u0000-\u001f]*(?:\\(?:["\\/bfnrt]|u[0-9a-fA-F]{4})[^"\\\u0000-\u001f]*)*"/y;
const SCALAR = /-?(?:0|[1-9]\d*)(?:\.\d+)?(?:[eE][+-]?\d+)?|true|false|null/y;

type Expected = "a value" | "a value or ]" | ", or ]" | "a field name or }" | "a field name" | ":" | ", or }" | "the end";

export function jsonFault(text: string): string {
  const open: string[] = [];
  let expected: Expected = "a value";
  let at = 0;

  const take = (form: RegExp): boolean => {
    form.lastIndex = at;
    if (!form.test(text)) return false;
    at = form.lastIndex;
    return true;
  };
  const takeChar = (char: string): boolean => {
    if (text[at] !== char) return false;
    at += 1;
    return true;
  };
  const afterValue = (): Expected => (open.length === 0 ? "the end" : open.at(-1) === "[" ? ", or ]" : ", or }");
  const closed = (): Expected => {
    open.pop();
    return afterValue();
  };
  const value = (): Expected | undefined => {
    if (takeChar("[")) {
      open.push("[");
      return "a value or ]";
    }
    if (takeChar("{")) {
      open.push("{");
      return "a field name or }";
    }
    return take(STRING) || take(SCALAR) ? afterValue() : undefined;
  };
  const key = (): Expected | undefined => (take(STRING) ? ":" : undefined);

  /** What may follow the next token; undefined where the fault is. */
  const step = (): Expected | undefined => {
    take(SPACE);
    switch (expected) {
      case "a value":
        return value();
      case "a value or ]":
        return takeChar("]") ? closed() : value();
      case ", or ]":
        return takeChar("]") ? closed() : takeChar(",") ? "a value" : undefined;
      case "a field name or }":
        return takeChar("}") ? closed() : key();
      case "a field name":
        return key();
      case ":":
        return takeChar(":") ? "a value" : undefined;
      case ", or }":
        return takeChar("}") ? closed() : takeChar(",") ? "a field name" : undefined;
      case "the end":
        return undefined;
    }
  };

  for (let next = step(); next !== undefined; next = step()) expected = next;
  const lines = text.slice(0, at).split("\n");
  return `expected ${expected} at line ${lines.length} column ${(lines.at(-1) ?? "").length + 1}`;
}
