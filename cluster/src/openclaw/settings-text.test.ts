import { expect, test } from "vitest";
import { parseSettings } from "./settings-text.ts";

test("what OpenClaw's own settings look like", () => {
  const text = `// My gateway
  {
    gateway: {            /* loopback
                             only */
      port: 18789,
      'auth': { mode: 'token', token: "a//b /* not a comment */ \\" , } : 'x'", },
      bind: "loopback", // the end
    },
    list: [1, 2,],
    \u00fcml: true,
  }`;
  expect(parseSettings(text)).toEqual({
    gateway: { port: 18_789, auth: { mode: "token", token: `a//b /* not a comment */ " , } : 'x'` }, bind: "loopback" },
    list: [1, 2],
    "\u00fcml": true,
  });
});

test("plain JSON is unchanged", () => {
  const value = { a: [1, -2.5, 1e3, null, true, 'x\u2028\t"\\'], b: {}, c: { "1": "2" }, d: "'" };
  expect(parseSettings(JSON.stringify(value, null, 2))).toEqual(value);
});

test("JSON5's further numbers and escapes", () => {
  expect(
    parseSettings(`{a: +1, b: .5, c: 5., d: 0xFF, e: -0x10, f: 'it\\'s \\x41 \\
on', g: "\\v\\0", $h_1: 'say "x"'}`),
  ).toEqual({ a: 1, b: 0.5, c: 5, d: 255, e: -16, f: "it's A on", g: "\v\0", $h_1: 'say "x"' });
});

test.each(["", "{", "{a}", "{a: b}", "{a: 1 b: 2}", "{,}", "[1,,2]", "{'a' 1}", "process.exit()", '{"a": "\u0000', "{a: NaN}"])(
  "%j is neither, and the error does not quote it",
  (text) => {
    expect(() => parseSettings(text)).toThrow(new SyntaxError("neither JSON nor JSON5"));
  },
);
