/**
 * Every message of the bus, both ways, from parties that were taken over: made from the schemas, well and badly, and on a real
 * nats-server as bytes that nobody's schema knows. Each campaign begins with what has done harm before.
 */
import { expect, test } from "vitest";
import { fuzzBytes } from "../fuzz/hostile-bytes.ts";
import { fuzzWorker } from "../fuzz/hostile-coordinator.ts";
import { fuzzNode } from "../fuzz/hostile-node.ts";
import { SPARING } from "../../cluster/src/system/sparing-log.ts";

const SEED = 20_261_129;
const LIMIT = { timeout: 120_000 };
const MESSAGES = 240;
/** What a campaign leaves in memory besides the tasks that it was given. */
const GROWTH_MIB_MAX = 32;
/** Of one party, whatever it sends, and the few that an honest life has. */
const linesMax = (parties: number): number => parties * SPARING.linesMax + 50;
const LINE_CHARS_MAX = 4_000;
const SERVER_LOG_BYTES_MAX = 2 * 1024 * 1024;

const upTo = (count: number) => (messages: number) => messages < count;

test("a node that lies spoils nothing but its own: no answer of the API, no task of another's, and no log", LIMIT, async () => {
  const { faults, messages, ends, logged, grownMiB } = await fuzzNode({ seed: SEED, goesOn: upTo(MESSAGES) });
  expect(faults).toEqual([]);
  expect(messages).toBe(MESSAGES);
  // It was listened to: some of what it said of its own work counted.
  expect((ends["succeeded"] ?? 0) + (ends["failed"] ?? 0)).toBeGreaterThan(0);
  expect(logged.lines).toBeLessThan(linesMax(2));
  expect(logged.longest.length).toBeLessThan(LINE_CHARS_MAX);
  expect(grownMiB).toBeLessThan(GROWTH_MIB_MAX);
});

test("a coordinator that lies makes a worker run nothing that its policy forbids, and the worker outlives it", LIMIT, async () => {
  const { faults, turnsOfAgents, logged, grownMiB } = await fuzzWorker({ seed: SEED, goesOn: upTo(MESSAGES) });
  expect(faults).toEqual([]);
  expect(turnsOfAgents).toBeGreaterThan(0);
  expect(logged.longest.length).toBeLessThan(LINE_CHARS_MAX);
  expect(grownMiB).toBeLessThan(GROWTH_MIB_MAX);
});

test("bytes of any kind under every subject, sealed or not: the honest node goes on, and nobody's log or memory fills", LIMIT, async () => {
  const { ends, logged, serverLogBytes, grownMiB } = await fuzzBytes({ seed: SEED, goesOn: upTo(MESSAGES * 4) });
  expect(new Set(ends)).toEqual(new Set(["succeeded"]));
  expect(logged.lines).toBeLessThan(linesMax(3));
  expect(logged.longest.length).toBeLessThan(LINE_CHARS_MAX);
  expect(serverLogBytes).toBeLessThan(SERVER_LOG_BYTES_MAX);
  expect(grownMiB).toBeLessThan(GROWTH_MIB_MAX);
});
