import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect, test } from "vitest";
import { discoverGateway, type Search } from "./discover.ts";

let homedir: string;
beforeEach(() => {
  homedir = mkdtempSync(join(tmpdir(), "ocx-discover-"));
  mkdirSync(join(homedir, ".openclaw"));
});
afterEach(() => rmSync(homedir, { recursive: true, force: true }));

const CANARY = "canary-token";
function settings(text: string, file = join(homedir, ".openclaw", "openclaw.json")): void {
  writeFileSync(file, text);
}
const find = (env: Search["env"] = {}, more: Partial<Search> = {}): ReturnType<typeof discoverGateway> =>
  discoverGateway({ env, homedir, ...more });
const found = (url: string, token: string = CANARY): object => ({ kind: "found", url, token });

test("OpenClaw's own settings, with comments in them", async () => {
  settings(`{ /* mine */ gateway: { mode: 'local', port: 19001, auth: { token: '${CANARY}' }, } }`);
  expect(await find()).toEqual(found("ws://127.0.0.1:19001"));
});

test("without a port it is OpenClaw's default; OPENCLAW_GATEWAY_PORT goes before the settings", async () => {
  settings(JSON.stringify({ gateway: { auth: { token: CANARY } } }));
  expect(await find()).toEqual(found("ws://127.0.0.1:18789"));
  expect(await find({ OPENCLAW_GATEWAY_PORT: "19002" })).toEqual(found("ws://127.0.0.1:19002"));
});

test("OPENCLAW_STATE_DIR and OPENCLAW_CONFIG_PATH lead elsewhere", async () => {
  mkdirSync(join(homedir, "state"));
  settings(JSON.stringify({ gateway: { port: 1, auth: { token: "one" } } }), join(homedir, "state", "openclaw.json"));
  settings(JSON.stringify({ gateway: { port: 2, auth: { token: "two" } } }), join(homedir, "b.json"));
  expect(await find({ OPENCLAW_STATE_DIR: "~/state" })).toEqual(found("ws://127.0.0.1:1", "one"));
  expect(await find({ OPENCLAW_STATE_DIR: "~/state", OPENCLAW_CONFIG_PATH: "~/b.json" })).toEqual(found("ws://127.0.0.1:2", "two"));
});

test("a token may stand in a variable, of the environment or of OpenClaw's .env", async () => {
  settings(JSON.stringify({ gateway: { auth: { token: "${MY_TOKEN}" } } }));
  expect(await find({ MY_TOKEN: CANARY })).toEqual(found("ws://127.0.0.1:18789"));
  expect(await find()).toMatchObject({ kind: "none", reason: expect.stringContaining("OPENCLAW_GATEWAY_TOKEN") });
  writeFileSync(join(homedir, ".openclaw", ".env"), `MY_TOKEN=${CANARY}\n`);
  expect(await find()).toEqual(found("ws://127.0.0.1:18789"));
  settings(JSON.stringify({ gateway: { auth: { token: { source: "env", provider: "default", id: "MY_TOKEN" } } } }));
  expect(await find()).toEqual(found("ws://127.0.0.1:18789"));
  settings(JSON.stringify({ gateway: { auth: { token: { source: "exec", provider: "vault", id: "x" } } } }));
  expect(await find()).toMatchObject({ kind: "none" });
});

test("OPENCLAW_GATEWAY_URL goes with OPENCLAW_GATEWAY_TOKEN; a local token is never for another machine", async () => {
  settings(JSON.stringify({ gateway: { auth: { token: "local" } } }));
  expect(await find({ OPENCLAW_GATEWAY_URL: "ws://10.0.0.5:18789", OPENCLAW_GATEWAY_TOKEN: CANARY })).toEqual(found("ws://10.0.0.5:18789"));
  expect(await find({ OPENCLAW_GATEWAY_URL: "ws://10.0.0.5:18789" })).toMatchObject({ kind: "none" });
  expect(await find({ OPENCLAW_GATEWAY_URL: "ws://127.0.0.1:5" })).toEqual(found("ws://127.0.0.1:5", "local"));
  expect(await find({ OPENCLAW_GATEWAY_URL: "ws://127.0.0.1:5" }, { url: "ws://127.0.0.1:6", token: CANARY })).toEqual(
    found("ws://127.0.0.1:6"),
  );
});

test("nothing but the address is taken of an address", async () => {
  const env = { OPENCLAW_GATEWAY_TOKEN: "t" };
  expect(await find({ ...env, OPENCLAW_GATEWAY_URL: `http://127.0.0.1:5/chat?x=${CANARY}#token=${CANARY}` })).toEqual(
    found("http://127.0.0.1:5", "t"),
  );
  expect(await find({ ...env, OPENCLAW_GATEWAY_URL: `ws://ann:${CANARY}@127.0.0.1:5` })).toEqual(found("ws://127.0.0.1:5", "t"));
  expect(JSON.stringify(await find({ OPENCLAW_GATEWAY_URL: `ws://ann:${CANARY}@10.0.0.5:5/#${CANARY}` }))).not.toContain(CANARY);
});

test("auth none needs no token", async () => {
  settings(JSON.stringify({ gateway: { auth: { mode: "none" } } }));
  expect(await find()).toEqual(found("ws://127.0.0.1:18789", ""));
});

test.each([
  ["no file", undefined, "not set up here"],
  ["not JSON", `{ gateway: ${CANARY}`, "cannot be read"],
  ["a strange port", `{ gateway: { port: "${CANARY}" } }`, "cannot be read"],
  ["no token", "{}", "openclaw configure"],
  ["an include", `{ $include: "./gateway.json5" }`, "includes other files"],
  ["a remote gateway", `{ gateway: { mode: "remote", remote: { token: "${CANARY}" } } }`, "another machine"],
  ["a password", `{ gateway: { auth: { mode: "password", password: "${CANARY}" } } }`, "the cluster needs token"],
  ["TLS", `{ gateway: { tls: { enabled: true }, auth: { token: "${CANARY}" } } }`, "wss://"],
])("%s: a reason in words, without a secret", async (_name, text, words) => {
  if (text !== undefined) settings(text);
  const answer = await find();
  expect(answer).toMatchObject({ kind: "none", reason: expect.stringContaining(words) });
  expect(JSON.stringify(answer)).not.toContain(CANARY);
});
