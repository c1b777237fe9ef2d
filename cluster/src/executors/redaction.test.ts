import fc from "fast-check";
import { expect, test } from "vitest";
import { Redaction } from "./redaction.ts";

const SECRET = 'se/cret+"=%\\ü_0123';
const redaction = new Redaction([SECRET]);

test.each<[form: string, text: string]>([
  ["as it is", SECRET],
  ["in JSON", JSON.stringify({ SECRET })],
  ["in an address", `https://h/?key=${encodeURIComponent(SECRET)}&x=1`],
  ["in a form", new URLSearchParams({ key: SECRET }).toString()],
  ["in base64", Buffer.from(`user:${SECRET}`).toString("base64")],
  ["in base64, one byte later", Buffer.from(`x${SECRET}yy`).toString("base64")],
  ["in base64, two bytes later", Buffer.from(`xy${SECRET}`).toString("base64")],
  ["in base64url", Buffer.from(SECRET).toString("base64url")],
  ["in hexadecimal", Buffer.from(SECRET).toString("hex")],
])("%s a secret is taken out, and what stands around it stays", (_form, text) => {
  const clean = redaction.clean(`before ${text} after`);
  expect(clean).toMatch(/^before .*….* after$/);
  for (const form of [SECRET, encodeURIComponent(SECRET), Buffer.from(SECRET).toString("hex")]) expect(clean).not.toContain(form);
});

test("however a stream is cut into pieces, what comes out is what would come of it in one", () => {
  const secrets = ["abcabcabd", "abcabcabdefgh", "zzzzzzzz"];
  const words = fc.constantFrom(...secrets, "abcabc", "abd", "efgh", "zzz", "x", "…");
  fc.assert(
    fc.property(fc.array(words), fc.array(fc.nat(12)), (parts, sizes) => {
      const [text, own] = [parts.join(""), new Redaction(secrets)];
      const stream = own.stream();
      let out = "";
      let at = 0;
      for (const size of sizes) {
        out += stream.write(text.slice(at, at + size));
        at += size;
      }
      out += stream.write(text.slice(at)) + stream.end();
      expect(out).toBe(own.clean(text));
      for (const secret of secrets) expect(out).not.toContain(secret);
    }),
  );
});

test("what begins like a secret and goes on otherwise comes out whole; nothing is held back for longer than that", () => {
  const stream = redaction.stream();
  expect(stream.write(`x${SECRET.slice(0, 9)}`)).toBe("x");
  expect(stream.write("other")).toBe(`${SECRET.slice(0, 9)}other`);
  expect(stream.write(SECRET.slice(0, 5))).toBe("");
  expect(stream.end()).toBe(SECRET.slice(0, 5));
});

test("a text that was cut in the middle of a secret does not begin with the rest of it", () => {
  expect(redaction.tail(`${SECRET.slice(6)} and more`)).toBe("… and more");
  expect(redaction.within({ exitCode: 0, stdoutTail: `${SECRET.slice(-5)}.`, list: [`x${SECRET}`] })).toEqual({
    exitCode: 0,
    stdoutTail: "….",
    list: ["x…"],
  });
});

test("a megabyte that always nearly fits takes no longer than any other", () => {
  const own = new Redaction(["a".repeat(4_000) + "b"]);
  const stream = own.stream();
  let chars = 0;
  for (let n = 0; n < 64; n += 1) chars += stream.write("a".repeat(16_384)).length;
  expect(chars + stream.end().length).toBe(64 * 16_384);
});
