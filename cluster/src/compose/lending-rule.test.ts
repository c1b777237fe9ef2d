import { mkdir, mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import path from "node:path";
import type { NodeId } from "@openclaw-cluster/contract/ids";
import type { LentModel } from "@openclaw-cluster/contract/models";
import { afterEach, beforeEach, expect, test, vi } from "vitest";
import { HandClock } from "../../../tests/support/hand-clock.ts";
import { linePair, type LinePair } from "../../../tests/support/line-pair.ts";
import { lent } from "../core/models/fixtures.ts";
import { DEFAULT_POLICY, Policy } from "../core/policy.ts";
import { borrowOver, lendOver, PolicyRefusal, type Lender, type LendingRule } from "../models/lines/lending.ts";
import type { ModelQuestion, ModelShelf } from "../models/models.ts";
import { silentLog } from "../system/log.ts";
import { openPowerWatch, POWER_LOOK_MS } from "../system/power.ts";
import { powerReader } from "../system/power-reading.ts";
import { lendingRule } from "./lending-rule.ts";

const SOON = { timeout: 5_000, interval: 5 };
const NODE = "laptop" as NodeId;
const { node: _node, ...OFFER }: LentModel = lent(NODE, "m");
const QUESTION: ModelQuestion = { path: "/chat/completions", model: "m", endpoint: "ollama", body: { messages: [] } };
const never = new AbortController().signal;

let folder: string;
let pair: LinePair;
let clock: HandClock;
let policy: Policy;
let lender: Lender;
let rule: LendingRule;

const plug = (isIn: boolean): Promise<unknown> =>
  Promise.all([
    writeFile(path.join(folder, "AC", "online"), isIn ? "1\n" : "0\n"),
    writeFile(path.join(folder, "BAT0", "status"), isIn ? "Charging\n" : "Discharging\n"),
  ]);

beforeEach(async () => {
  folder = await mkdtemp(path.join(tmpdir(), "lending-rule-"));
  for (const [name, type] of [
    ["AC", "Mains"],
    ["BAT0", "Battery"],
  ] as const) {
    await mkdir(path.join(folder, name));
    await writeFile(path.join(folder, name, "type"), `${type}\n`);
  }
  await plug(true);
  clock = new HandClock();
  policy = DEFAULT_POLICY;
  const power = openPowerWatch({ read: powerReader({ platform: "linux", env: {}, folder }), clock, log: silentLog });
  rule = lendingRule({ node: NODE, policy: { current: () => policy, onChange: () => ({ stop: () => undefined }) }, power, clock });
  const shelf = { models: [OFFER], onChange: () => ({ stop: () => undefined }) } as unknown as ModelShelf;
  pair = await linePair();
  lendOver(pair.near, shelf, rule);
  lender = borrowOver(pair.far);
  await vi.waitFor(() => expect(lender.models).toHaveLength(1), SOON);
});
afterEach(async () => {
  pair.end();
  await rm(folder, { recursive: true });
});

/** Each look is one that becomes due, however quickly the files are read. */
const lookUntil = (holds: () => void): Promise<void> =>
  vi.waitFor(() => {
    clock.advance(POWER_LOOK_MS);
    holds();
  }, SOON);

test("a machine that is unplugged lends no more, says why, and lends again on mains", async () => {
  await plug(false);
  await lookUntil(() => expect(lender.models).toEqual([]));
  const refused = lender.ask(QUESTION, { token: "t1", name: "ann" }, never);
  await expect(refused).rejects.toThrow("m is not lent while its machine runs on its battery");
  await expect(refused).rejects.toBeInstanceOf(PolicyRefusal);
  // Its own requests need no leave.
  expect(rule.refusal("m", { token: NODE })).toBeUndefined();
  await plug(true);
  await lookUntil(() => expect(lender.models).toEqual([OFFER]));
  expect(rule.refusal("m", { token: "t1", name: "ann" })).toBeUndefined();
});

test("one that lends all the same says that it is on its battery, while it is", async () => {
  policy = Policy.parse({ version: 1, allow: { models: ["*"] }, battery: { models: true } });
  await plug(false);
  await lookUntil(() => expect(lender.models).toEqual([{ ...OFFER, onBattery: true }]));
  expect(rule.refusal("m", { token: "t1", name: "ann" })).toBeUndefined();
  await plug(true);
  await lookUntil(() => expect(lender.models).toEqual([OFFER]));
});

test("whoever listens hears of the clock, too, and nothing any more when it stops", () => {
  let heard = 0;
  const listening = rule.onChange(() => heard++);
  clock.advance(30_000);
  expect(heard).toBe(1);
  listening.stop();
  clock.advance(300_000);
  expect(heard).toBe(1);
});
