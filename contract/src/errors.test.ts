import { describe, expect, it } from "vitest";
import { ClusterError, ERRORS, ErrorCode, Problem, toProblem, type ErrorCode as Code } from "./errors.ts";

const rows = Object.entries(ERRORS) as [Code, (typeof ERRORS)[Code]][];

/**
 * Codes that callers may have written down (E2). A new code is added here with its row; a line is never changed: that
 * would give a published code another meaning.
 */
const PUBLISHED: Readonly<Record<string, readonly [status: number, exit: number, retryable: boolean]>> = {
  bad_request: [400, 2, false],
  unauthorized: [401, 1, false],
  forbidden: [403, 1, false],
  not_found: [404, 1, false],
  method_not_allowed: [405, 2, false],
  idempotency_mismatch: [409, 1, false],
  state_conflict: [409, 1, false],
  payload_too_large: [413, 2, false],
  unsupported_media_type: [415, 2, false],
  misdirected: [421, 1, false],
  overloaded: [429, 1, true],
  internal: [500, 1, true],
  unavailable: [503, 1, true],
  storage_full: [507, 1, true],
};

describe("the table", () => {
  it.each(Object.entries(PUBLISHED))("keeps %s as it was published", (code, [status, exit, retryable]) => {
    expect(ERRORS[code as Code]).toMatchObject({ status, exit, retryable });
  });

  it.each(rows)("%s is a complete row", (code, { status, exit, hint }) => {
    expect(code).toMatch(/^[a-z]+(_[a-z]+)*$/);
    expect(status).toBeGreaterThanOrEqual(400);
    expect(status).toBeLessThan(600);
    expect([1, 2]).toContain(exit);
    expect(hint).toMatch(/^[A-Z].*[.?!]$/);
  });

  it.each(rows.filter(([, { retryable }]) => retryable))(
    "%s can help when sent again, so it is not the request's own fault",
    (_code, { status, exit }) => {
      expect([400, 401, 403, 404, 405, 409, 413, 415]).not.toContain(status);
      expect(exit).toBe(1);
    },
  );

  it("E3: says of what a caller can mend that sending it again does not help", () => {
    for (const [code, { class: its, retryable }] of rows)
      expect([code, retryable]).toEqual([code, its !== "permanent" && its !== "policy"]);
  });

  it("and the schema know the same codes", () => {
    expect(ErrorCode.options.toSorted()).toEqual(rows.map(([code]) => code).toSorted());
  });
});

describe("ClusterError", () => {
  it("keeps its cause and says code and detail", () => {
    const cause = new Error("socket closed");
    const error = new ClusterError("bus_timeout", "no answer from studio in 2000 ms", { cause });
    expect(error.message).toBe("bus_timeout: no answer from studio in 2000 ms");
    expect(error.cause).toBe(cause);
    expect(error.name).toBe("ClusterError");
    expect(error).toBeInstanceOf(Error);
  });

  it("has no cause where none was given", () => {
    expect("cause" in new ClusterError("not_found", "t1")).toBe(false);
  });

  it("becomes problem details that hold no more than the table and the detail", () => {
    const error = new ClusterError("overloaded", "200000 tasks are live", { cause: new Error("secret"), retryAfterMs: 1_000 });
    const problem = toProblem(error);
    expect(Problem.strict().parse(problem)).toEqual({
      type: "about:blank",
      title: "overloaded",
      status: 429,
      code: "overloaded",
      detail: "200000 tasks are live",
      hint: ERRORS.overloaded.hint,
      retryable: true,
    });
    expect(JSON.stringify(problem)).not.toContain("secret");
  });
});
