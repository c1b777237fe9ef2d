import { Report } from "@openclaw-cluster/contract/wire";
import fc from "fast-check";
import { expect, test } from "vitest";
import { readReport } from "./report-body.ts";

const ref = { task: "t7", attempt: 1, epoch: 3 };
const success = { ...ref, startedAt: 5, endedAt: 6, runMs: 0.5, outcome: { kind: "succeeded", result: "fine" } };
const reportOf = (...finished: unknown[]): unknown => ({ boot: 1, n: 1, started: [], progressed: [], finished });

test("what is read is what the schema reads, for any end", () => {
  const oddly = fc.constantFrom(undefined, null, -1, 0, 0.5, 1, 2 ** 53, Infinity, "", "t1", "t01", "1e3", true, {}, [1], { a: 1 });
  const end = fc.record(
    {
      task: fc.oneof(fc.constant("t7"), oddly),
      attempt: fc.oneof(fc.constant(1), oddly),
      epoch: fc.oneof(fc.constant(3), oddly),
      startedAt: fc.oneof(fc.constant(5), oddly),
      endedAt: fc.oneof(fc.constant(6), oddly),
      runMs: fc.oneof(fc.constant(0.5), oddly),
      acted: fc.oneof(fc.boolean(), oddly),
      outcome: fc.oneof(
        fc.record({ kind: fc.constant("succeeded"), result: oddly, blob: oddly }, { requiredKeys: ["kind"] }),
        fc.constant({ kind: "cancelled" }),
        oddly,
      ),
    },
    { requiredKeys: ["task", "attempt", "epoch", "endedAt", "runMs", "outcome"] },
  );
  fc.assert(
    fc.property(fc.array(end, { maxLength: 3 }), (ends) => {
      // As it comes off the bus: undefined fields are gone, Infinity is null.
      const body = JSON.parse(JSON.stringify(reportOf(...ends))) as unknown;
      expect(readReport(body)).toEqual(Report.safeParse(body).data);
    }),
    { numRuns: 2_000 },
  );
});

test("an end that is no plain success is read as well, and a broken one spoils the report", () => {
  const failed = { ...success, outcome: { kind: "failed", error: { code: "worker_failed", message: "broken" } } };
  const large = { ...success, outcome: { kind: "succeeded", result: { rows: [1, 2] } } };
  expect(readReport(reportOf(success, failed, large))?.finished).toEqual([success, failed, large]);
  expect(readReport(reportOf(success, { ...success, runMs: "long" }))).toBeUndefined();
  expect(readReport({ boot: 1 })).toBeUndefined();
  expect(readReport("no report")).toBeUndefined();
});
