/** Messages that a worker does not heed: whoever sends them can send as many as it likes, with whatever stands in them. */
import { pino } from "pino";
import { afterEach, beforeEach, expect, test } from "vitest";
import { NODE, WorkerGround } from "../../../tests/support/worker-ground.ts";
import { ANY_HEARTBEAT, offersTo } from "../bus/subjects.ts";
import { DEFAULT_POLICY } from "../core/policy.ts";
import { SPARING } from "../system/sparing-log.ts";

const MESSAGES = 10 * SPARING.linesMax;
const LINE_CHARS_MAX = 1_000;

let ground: WorkerGround;
let lines: string[];
beforeEach(async () => {
  ground = new WorkerGround();
  lines = [];
  await ground.open({ log: pino({ level: "info" }, { write: (line: string) => void lines.push(line) }) });
  lines = [];
});
afterEach(() => ground.remove());

test.each<[string, (n: number) => unknown]>([
  ["another life, in numbers", (n) => n + 1_000],
  ["another life, in words", (n) => `${n}`.repeat(100_000)],
  ["no life at all", () => ({ length: 1 })],
])("offers to %s: some lines a minute, and short ones", async (_what, boot) => {
  for (let n = 0; n < MESSAGES; n += 1) ground.coordinator.publish(offersTo(NODE), { epoch: 1, boot: boot(n), offers: [] });
  await ground.settle();
  expect(lines.length).toBeGreaterThan(0);
  expect(lines.length).toBeLessThanOrEqual(SPARING.linesMax);
  expect(Math.max(...lines.map(({ length }) => length))).toBeLessThan(LINE_CHARS_MAX);
});

test("answers to heartbeats that are none: some lines a minute", async () => {
  ground.renewing = false;
  ground.net.connect("evil").subscribe(ANY_HEARTBEAT, ({ respond }) => respond?.({ epoch: "x".repeat(100_000) }));
  await ground.pass(59_000, 1_000);
  expect(ground.heartbeats.length).toBeGreaterThan(2 * SPARING.linesMax);
  expect(lines.length).toBeGreaterThan(0);
  expect(lines.length).toBeLessThanOrEqual(SPARING.linesMax);
});

// A report that the coordinator cannot read would be dropped with all that is in it, and sent again for ever.
test("a refusal that would name too long a program is told all the same, and so is what ends beside it", async () => {
  ground.policy = DEFAULT_POLICY;
  ground.offer({ n: 1, spec: { kind: "command", input: { argv: ["x".repeat(30_000)] } } }, { n: 2 });
  expect(await ground.outcome(1)).toMatchObject({ kind: "refused", error: { code: "policy_denied" } });
  expect(await ground.outcome(2)).toMatchObject({ kind: "succeeded" });
});
