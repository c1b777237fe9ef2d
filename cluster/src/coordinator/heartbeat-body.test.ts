import { expect, test } from "vitest";
import { readHeartbeat } from "./heartbeat-body.ts";
import { readReport } from "./report-body.ts";

const LOAD = { cpu: 0, memoryFreeMiB: 1, diskFreeMiB: 1, running: 0, held: 0 };
const HEARTBEAT = { node: "a", boot: 1, n: 1, load: LOAD, held: [{ task: "t1", attempt: 1, epoch: 1 }] };
const REPORT = { boot: 1, n: 1, started: [], progressed: [], finished: [] };
const zeros = (count: number): number[] => Array.from({ length: count }, () => 0);

test("a heartbeat that holds thousands is one", () => {
  const held = zeros(20_000).map((_, n) => ({ task: `t${n + 1}`, attempt: 1, epoch: 1 }));
  expect(readHeartbeat(HEARTBEAT)).toEqual({ kind: "beat", beat: HEARTBEAT });
  expect(readHeartbeat({ ...HEARTBEAT, held })).toMatchObject({ kind: "beat" });
});

test.each<[string, unknown, string]>([
  ["nothing at all", undefined, "held: not a list of attempts"],
  ["half a million zeros held", { ...HEARTBEAT, held: zeros(500_000) }, "held: not a list of attempts"],
  ["half a million skills", { ...HEARTBEAT, facts: { skills: zeros(500_000) } }, "too many entries"],
  ["a wrong field", { ...HEARTBEAT, boot: 0 }, "boot: Too small: expected number to be >=1"],
])("%s is refused in few words", (_what, body, problem) => {
  expect(readHeartbeat(body)).toEqual({ kind: "none", problem });
});

test.each<[string, unknown]>([
  ["half a million starts", { ...REPORT, started: zeros(500_000) }],
  ["half a million ends", { ...REPORT, finished: zeros(500_000) }],
  [
    "an error with a hundred thousand facts",
    {
      ...REPORT,
      finished: [
        {
          task: "t1",
          attempt: 1,
          epoch: 1,
          endedAt: 1,
          runMs: 1,
          outcome: { kind: "failed", error: { code: "internal", message: "", data: zeros(100_000) } },
        },
      ],
    },
  ],
])("so is a report of %s", (_what, body) => {
  expect(readReport(body)).toBeUndefined();
});
