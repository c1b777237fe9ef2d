/** What a worker writes into its log about messages that it does not heed: whoever sends them can send as many as it likes. */
import { pino } from "pino";
import { afterEach, beforeEach, expect, test } from "vitest";
import { NODE, WorkerGround } from "../../../tests/support/worker-ground.ts";
import { offersTo } from "../bus/subjects.ts";
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
