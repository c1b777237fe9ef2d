import { expect, test } from "vitest";
import { ClusterError, toProblem } from "../errors.ts";
import { areSpent, asClusterError, errorFrom, mayRepeat, pause, pauseMs, RETRY, RETRY_MANY, withRetry } from "./retry.ts";
import { ConnectionBroken } from "./transport.ts";

const never = new AbortController().signal;
const broken = (sent: boolean): ClusterError => asClusterError(new ConnectionBroken("cut", sent, undefined));

test.each([
  ["a read after a broken connection", broken(true), true, true],
  ["a change after a broken connection", broken(true), false, false],
  ["a change that was never sent", broken(false), false, true],
  ["a change that was turned away", new ClusterError("unavailable", ""), false, true],
  ["a change that met a fault", new ClusterError("internal", ""), false, false],
  ["a read that met a fault", new ClusterError("internal", ""), true, true],
  ["a wrong token", new ClusterError("unauthorized", ""), true, false],
  ["a wait of minutes", new ClusterError("overloaded", "", { retryAfterMs: RETRY.retryAfterMaxMs + 1 }), true, false],
])("%s", (_what, error, safe, expected) => {
  expect(mayRepeat(error, safe)).toBe(expected);
});

test("pauses double up to their cap", () => {
  for (let tried = 1; tried <= RETRY.attemptsMax; tried++) {
    const whole = Math.min(RETRY.capMs, RETRY.firstMs * 2 ** (tried - 1));
    expect(pauseMs(tried, broken(true))).toBeGreaterThanOrEqual(whole / 2);
    expect(pauseMs(tried, broken(true))).toBeLessThanOrEqual(whole);
  }
});

test("a thousand clients that are refused at once do not come back at once, and none too early", () => {
  const told = new ClusterError("overloaded", "", { retryAfterMs: 1_000 });
  const pauses = Array.from({ length: 1_000 }, () => pauseMs(1, told));
  expect(Math.min(...pauses)).toBeGreaterThanOrEqual(1_000);
  expect(Math.max(...pauses)).toBeLessThanOrEqual(2_000);
  const inOneTenth = pauses.filter((ms) => ms < 1_100).length;
  expect(inOneTenth).toBeLessThan(200);
});

test("it tries until an error that repeating does not cure", async () => {
  let tried = 0;
  const error = new ClusterError("bad_request", "");
  const spent = withRetry({ safe: true, signal: undefined, line: { closed: never, heard: true } }, () => {
    tried += 1;
    return Promise.reject(tried < 3 ? new ClusterError("unavailable", "") : error);
  });
  await expect(spent).rejects.toBe(error);
  expect(tried).toBe(3);
});

test("a coordinator that never answered gets few attempts, one that did gets the time to start again", () => {
  expect(areSpent(RETRY.attemptsShortMax, broken(false), { heard: false }, 0)).toBe(true);
  expect(areSpent(RETRY.attemptsShortMax, broken(false), { heard: true }, 0)).toBe(false);
  expect(areSpent(RETRY.attemptsMax, broken(false), { heard: true }, 0)).toBe(true);
  expect(areSpent(RETRY.attemptsShortMax, new ClusterError("internal", ""), { heard: true }, 0)).toBe(true);
});

test("with several addresses the attempts are more, and over after a minute; with one they take what they take", () => {
  const many = { heard: true, retry: RETRY_MANY };
  const withinMs = RETRY_MANY.withinMs as number;
  expect(areSpent(RETRY.attemptsMax, broken(false), many, 0)).toBe(false);
  expect(areSpent(RETRY_MANY.attemptsMax, broken(false), many, 0)).toBe(true);
  expect(areSpent(2, broken(true), many, withinMs + 1)).toBe(true);
  expect(areSpent(2, broken(true), { heard: true }, 10 * withinMs)).toBe(false);
  expect(pauseMs(20, broken(true), RETRY_MANY)).toBeLessThanOrEqual(RETRY_MANY.capMs);
  // Of several, another can serve long before; one that has too much to do means itself.
  const told = { retryAfterMs: 5_000 };
  expect(pauseMs(1, new ClusterError("unavailable", "", told), RETRY_MANY)).toBeLessThanOrEqual(RETRY.firstMs);
  expect(pauseMs(1, new ClusterError("overloaded", "", told), RETRY_MANY)).toBeGreaterThanOrEqual(5_000);
});

test("a closed client and an aborted caller try no more", async () => {
  const fail = (): Promise<never> => Promise.reject(new ConnectionBroken("cut", false, undefined));
  await expect(
    withRetry({ safe: true, signal: undefined, line: { closed: AbortSignal.abort(), heard: true } }, fail),
  ).rejects.toMatchObject({
    code: "coordinator_unreachable",
    detail: "This client is closed.",
  });
  await expect(withRetry({ safe: true, signal: AbortSignal.abort("enough"), line: { closed: never, heard: true } }, fail)).rejects.toBe(
    "enough",
  );
  const leaving = new AbortController();
  const waiting = pause(3_600_000, leaving.signal);
  leaving.abort();
  await expect(waiting).resolves.toBeUndefined();
});

test("a problem becomes its error, anything else an error that says so", () => {
  const problem = JSON.stringify(toProblem(new ClusterError("overloaded", "full")));
  expect(errorFrom(429, problem, "3")).toMatchObject({ code: "overloaded", detail: "full", retryAfterMs: 3_000 });
  expect(errorFrom(502, "<html>", undefined)).toMatchObject({
    code: "unavailable",
    detail: "The answer has status 502 and is not from a coordinator.",
  });
  expect(errorFrom(404, "", "Wed, 21 Oct 2026 07:28:00 GMT")).toMatchObject({ code: "not_found", retryAfterMs: undefined });
  expect(errorFrom(418, "{}", undefined).code).toBe("bad_request");
});
