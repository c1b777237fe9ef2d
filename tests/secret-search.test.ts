import { randomBytes } from "node:crypto";
import { expect, test } from "vitest";
import { redact } from "../cluster/src/system/redact.ts";
import { createInvitation, writeJoinCode } from "../cluster/src/trust/join-code.ts";
import { createNodeKeys } from "../cluster/src/trust/keys.ts";
import { createToken } from "../cluster/src/trust/token.ts";
import { searchFor } from "./support/secret-search.ts";

const TEXT = `canary/+"=%${randomBytes(12).toString("base64")}`;
const KEY = randomBytes(32);
const search = searchFor([
  { name: "text", value: TEXT },
  { name: "key", value: KEY },
]);
const inBase64 = (bytes: Uint8Array, before: number): string =>
  Buffer.concat([Buffer.from("before".slice(0, before)), bytes, Buffer.from("after")]).toString("base64");

test.each<[string, string | Buffer]>([
  ["as it is", TEXT],
  ["its first half", TEXT.slice(0, Math.ceil(TEXT.length / 2))],
  ["its second half", TEXT.slice(Math.ceil(TEXT.length / 2))],
  ["in JSON", JSON.stringify({ TEXT })],
  ["in JSON within JSON", JSON.stringify(JSON.stringify({ TEXT }))],
  ["in an address", `http://h/?t=${encodeURIComponent(TEXT)}`],
  ["in a form", new URLSearchParams({ TEXT }).toString()],
  ["in base64", inBase64(Buffer.from(TEXT), 0)],
  ["in base64, one byte later", inBase64(Buffer.from(TEXT), 1)],
  ["in base64, two bytes later", inBase64(Buffer.from(TEXT), 2)],
  ["in base64url", Buffer.from(`x${TEXT}`).toString("base64url")],
  ["in hexadecimal", Buffer.from(TEXT).toString("hex")],
  ["in UTF-16", Buffer.from(TEXT, "utf16le")],
])("a secret is found %s", (_form, text) => {
  expect(search(Buffer.concat([randomBytes(100), Buffer.from(text as string), randomBytes(100)]))).toContainEqual(
    expect.stringMatching(/^text/),
  );
});

test("so is a key, raw and encoded", () => {
  for (const form of [KEY, KEY.toString("hex").toUpperCase(), inBase64(KEY, 1)])
    expect(search(Buffer.from(form as string))).toContainEqual(expect.stringMatching(/^key/));
});

test("so is what nobody told of, by its form; and nothing where there is nothing", () => {
  expect(search(Buffer.from(`x ${createToken().token} y`))).toEqual(["an API token by its form"]);
  expect(search(Buffer.from(createNodeKeys().seed))).toEqual(["a seed by its form"]);
  expect(search(Buffer.from(createNodeKeys().publicKey))).toEqual([]);
  expect(search(Buffer.from(createToken().hash))).toEqual([]);
  expect(search(randomBytes(100_000))).toEqual([]);
});

test("what is really given out has the form that the log hides", () => {
  for (const secret of [
    createToken().token,
    writeJoinCode({ ...createInvitation(), pin: "p".repeat(43), urls: ["http://studio:8888"] }),
    new TextDecoder().decode(createNodeKeys().seed),
  ])
    expect(search(Buffer.from(redact(`it is ${secret}.`)))).toEqual([]);
});
