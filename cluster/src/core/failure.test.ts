import type { NodeId } from "@openclaw-cluster/contract/ids";
import { ErrorCode, ERRORS } from "@openclaw-cluster/contract/errors";
import type { TaskError } from "@openclaw-cluster/contract/task";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { fingerprint, isPoison, stablePart } from "./failure.ts";

const exit = (exitCode: number, message = "sh ended with an error."): TaskError => ({
  code: "command_failed",
  message,
  data: { exitCode },
});

describe("a fingerprint", () => {
  it("F1: is the same for what differs only by numbers, ids, times and paths of the attempt", () => {
    const said = (words: string): string => fingerprint({ code: "agent_failed", message: words });
    expect(said("no answer in 2000 ms from t42.1")).toBe(said("no answer in 35 ms from t7.3"));
    expect(said("cannot open /var/tmp/ocx-8f3a/t42/x")).toBe(said("cannot open /home/ann/t9/y"));
    expect(said("failed\nat line one")).toBe(said("failed\nat another line"));
    expect(said("rejected the schema")).not.toBe(said("rejected the key"));
  });

  it("F1: tells exit codes, signals and statuses apart, and passes over output", () => {
    expect(fingerprint(exit(127))).not.toBe(fingerprint(exit(126)));
    expect(fingerprint({ ...exit(1), data: { exitCode: 1, stderrTail: "a", outputBytes: 1 } })).toBe(
      fingerprint({ ...exit(1), data: { exitCode: 1, stderrTail: "b", outputBytes: 2 } }),
    );
    expect(stablePart(exit(127, "sh ended with exit code 127."))).toBe("exit 127: sh ended with exit code #");
  });

  it("F2: is short and fit for a command line, whatever the error", () => {
    const anyError = fc.record({
      code: fc.constantFrom(...ErrorCode.options),
      message: fc.oneof(fc.string({ maxLength: 60 }), fc.constant("名\u0000 \ud800 9\n"), fc.constant("x".repeat(4_096))),
      data: fc.dictionary(fc.constantFrom("exitCode", "signal", "status", "x"), fc.oneof(fc.string(), fc.integer(), fc.constant(null))),
    });
    fc.assert(
      fc.property(anyError, (error) => {
        expect(fingerprint(error)).toMatch(/^[a-z_]{1,32}-[0-9a-f]{8}$/);
      }),
      { numRuns: 30 },
    );
  });
});

describe("poison", () => {
  const ada = "ada" as NodeId;
  const print = "agent_failed-00000001";

  it("is the same failure on two nodes, and nothing else", () => {
    expect(isPoison({ node: ada, print }, { node: "bob" as NodeId, print }, "agent_failed")).toBe(true);
    expect(isPoison({ node: ada, print }, { node: ada, print }, "agent_failed")).toBe(false);
    expect(isPoison({ node: ada, print }, { node: "bob" as NodeId, print: `${print}0` }, "agent_failed")).toBe(false);
    expect(isPoison(undefined, { node: ada, print }, "agent_failed")).toBe(false);
  });

  it("is never what says nothing of the task", () => {
    const blameless = ErrorCode.options.filter((code) => !isPoison({ node: ada, print }, { node: "bob" as NodeId, print }, code));
    const ofChance = ["answer_invalid", "model_failed"];
    for (const code of blameless) {
      if (!ofChance.includes(code)) expect(["infrastructure", "throttled"]).toContain(ERRORS[code].class);
    }
    expect(blameless).toEqual(expect.arrayContaining(ofChance));
    expect(blameless).toEqual(expect.arrayContaining(["node_lost", "gateway_unreachable", "throttled"]));
    expect(blameless).not.toContain("worker_failed");
  });
});
