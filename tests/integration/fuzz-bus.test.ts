/**
 * Every message of the bus, both ways, from parties that were taken over: made from the schemas, well and badly, and on a real
 * nats-server as bytes that nobody's schema knows. Each campaign begins with what has done harm before, and judges by itself what it
 * left in logs and memory; here it is seen to that it has really been heard.
 */
import { expect, test } from "vitest";
import { byCount } from "../fuzz/budget.ts";
import { fuzzBytes } from "../fuzz/hostile-bytes.ts";
import { fuzzWorker } from "../fuzz/hostile-coordinator.ts";
import { fuzzNode } from "../fuzz/hostile-node.ts";

const SEED = 20_261_129;
const LIMIT = { timeout: 120_000 };
/** Longer, and other ones: `npm run fuzz`. */
const MESSAGES = 240;
/** Of each kind of message. */
const EACH_MIN = 20;

const least = (counts: Readonly<Record<string, number>>): number => Math.min(...Object.values(counts));

test("a node that lies spoils nothing but its own: no answer of the API, no task of another's, and no log", LIMIT, async () => {
  const { faults, messages, said, ends, pieces, heard } = await fuzzNode(byCount(SEED, MESSAGES));
  expect(faults).toEqual([]);
  expect(messages).toBe(MESSAGES);
  expect(least(said)).toBeGreaterThanOrEqual(EACH_MIN);
  // It was listened to: some of what it said of its own work counted, and what it printed was given out.
  expect(ends["succeeded"]).toBeGreaterThan(0);
  expect(ends["failed"]).toBeGreaterThan(0);
  expect(pieces).toBeGreaterThan(0);
  expect(heard["progress"]).toBeGreaterThan(0);
});

test("a coordinator that lies makes a worker run nothing that its policy forbids, and the worker outlives it", LIMIT, async () => {
  const { faults, messages, said, turnsOfAgents, commandsRefused } = await fuzzWorker(byCount(SEED, MESSAGES));
  expect(faults).toEqual([]);
  expect(messages).toBe(MESSAGES);
  expect(least(said)).toBeGreaterThanOrEqual(EACH_MIN);
  // What it may do it did, and what it may not it was asked to.
  expect(turnsOfAgents).toBeGreaterThan(0);
  expect(commandsRefused).toBeGreaterThan(0);
});

test("bytes of any kind under every subject, sealed or not: the honest node goes on, and nobody's log or memory fills", LIMIT, async () => {
  const { faults, messages, ends, pieces } = await fuzzBytes(byCount(SEED, MESSAGES * 4));
  expect(faults).toEqual([]);
  expect(messages).toBeGreaterThanOrEqual(MESSAGES * 4);
  expect(ends.length).toBeGreaterThan(0);
  expect(pieces).toBeGreaterThan(0);
});
