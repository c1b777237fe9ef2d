/** A machine that is ordered to be a control node, over the bus in memory: P1 and P2 of promotion.ts, and what its log may not hold. */
import { existsSync } from "node:fs";
import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import path from "node:path";
import { NodeId } from "@openclaw-cluster/contract/ids";
import type { PromotionAnswer, PromotionOrder } from "@openclaw-cluster/contract/wire";
import { afterEach, beforeEach, expect, test } from "vitest";
import { makeAuthority } from "../../../tests/support/authority.ts";
import { HandClock } from "../../../tests/support/hand-clock.ts";
import { openRamNet } from "../bus/ram.ts";
import { promotionTo } from "../bus/subjects.ts";
import { loadConfig } from "../system/config.ts";
import { foldersOf, makeFolders } from "../system/folders.ts";
import { openLog } from "../system/log.ts";
import { createNodeKeys } from "../trust/keys.ts";
import { HANDOVER, seal } from "../trust/sealed-box.ts";
import type { Ground } from "./ground.ts";
import { listenForPromotion } from "./promotion.ts";

const TWO = NodeId.parse("two");
const WAIT_MS = 10_000;
const SECRET = { seed: Buffer.from(createNodeKeys().seed).toString(), token: "occ_told-to-two", key: "the authority's own key" };
const TOLD = {
  ...{ clusterName: "home", coordinatorSeed: SECRET.seed, authorityKey: SECRET.key, authority: makeAuthority().certificate },
  ...{ store: { prefix: "ocx/", members: ["https://10.0.0.1:2379"] }, token: SECRET.token, witness: false },
};

let home: string;
let clock: HandClock;
let reopened: number;
let logged: () => Promise<string>;
let order: (order: PromotionOrder | object) => Promise<PromotionAnswer>;
let close: () => Promise<void>;

async function listen(settings: object = {}): Promise<void> {
  const folders = foldersOf(home);
  await makeFolders(folders);
  const own = { nodeId: TWO, roles: ["worker"], coordinator: { url: "http://127.0.0.1:8888" }, ...settings };
  await writeFile(folders.config, JSON.stringify(own), { mode: 0o600 });
  const file = path.join(home, "promotion.log");
  const { log } = openLog({ level: "debug", file });
  logged = () => readFile(file, "utf8").catch(() => "");
  const net = openRamNet({ clock });
  const [coordinator, bus] = [net.connect("coordinator"), net.connect(TWO)];
  const ground = { config: await loadConfig({ home, env: {} }), folders, clock, log, reopen: () => (reopened += 1) } as unknown as Ground;
  const subscription = listenForPromotion(ground, bus);
  order = async (body) => (await coordinator.request(promotionTo(TWO), body, WAIT_MS)) as PromotionAnswer;
  close = async () => {
    subscription.stop();
    await Promise.all([coordinator.close(), bus.close()]);
  };
}

beforeEach(async () => {
  home = await mkdtemp(path.join(tmpdir(), "ocx-promotion-"));
  [clock, reopened] = [new HandClock(), 0];
});
afterEach(async () => {
  await close();
  await rm(home, { recursive: true });
});

const prepare = async (): Promise<string> => {
  const answer = await order({ kind: "prepare" });
  if ("key" in answer) return answer.key;
  throw new Error(JSON.stringify(answer));
};
const sealed = (key: string, text: string = JSON.stringify(TOLD)): PromotionOrder => ({
  kind: "promote",
  sealed: seal(text, key, HANDOVER),
});
const roles = async (): Promise<readonly string[]> => (await loadConfig({ home, env: {} })).roles;

test("it is told, answers, and begins anew a while after; nothing of what it was told stands in its log", async () => {
  await listen();
  expect(await order(sealed(await prepare()))).toEqual({ done: true });
  expect(await roles()).toEqual(["coordinator", "worker"]);
  expect(reopened).toBe(0);
  clock.advance(1_500);
  expect(reopened).toBe(1);
  await expect.poll(logged).toContain("this machine is another in its cluster now");
  for (const secret of Object.values(SECRET)) expect(await logged()).not.toContain(secret);
});

test("P1: its owner's never is an answer, before any key is made, and demotes all the same", async () => {
  await listen({ control: { promote: "never" } });
  expect(await order({ kind: "prepare" })).toEqual({ refused: "its owner has set control.promote to never" });
  expect(await order({ kind: "demote", urls: ["http://127.0.0.1:1"] })).toEqual({ done: true });
});

test("P2: a key opens one order: not one that was not announced, not a second one, not one for an earlier key", async () => {
  await listen();
  const unasked = { refused: "it was not asked to prepare for that" };
  const first = await prepare();
  const second = await prepare();
  expect(second).not.toBe(first);
  expect(await order(sealed(first))).toEqual({ refused: "a sealed text is not for this reader, or not whole" });
  expect(await order(sealed(second))).toEqual(unasked);
  const third = await prepare();
  expect(await order(sealed(third, "{}"))).toMatchObject({ refused: expect.stringContaining("does not know") as string });
  expect(await order(sealed(third))).toEqual(unasked);
  expect(await roles()).toEqual(["worker"]);
  expect(existsSync(foldersOf(home).coordinatorSeed)).toBe(false);
  clock.advance(60_000);
  expect(reopened).toBe(0);
});

test("what it cannot read is answered, changes nothing, and is not quoted in its log", async () => {
  await listen();
  expect(await order({ kind: "abdicate" })).toEqual({ refused: "it does not understand this" });
  expect(await order({ kind: "demote", urls: [] })).toEqual({ refused: "it does not understand this" });
  expect(await order(sealed(await prepare(), `${SECRET.token}, not as JSON`))).toMatchObject({
    refused: expect.stringContaining("does not know") as string,
  });
  await expect.poll(logged).toContain("could not be carried out");
  expect(await logged()).not.toContain(SECRET.token);
  expect(await roles()).toEqual(["worker"]);
});
