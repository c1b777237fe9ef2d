import { expect, test } from "vitest";
import { HandClock } from "../../../tests/support/hand-clock.ts";
import { AUTH_FAILURES, AuthFailures } from "./auth-failures.ts";

function spend(failures: AuthFailures, address: string, times: number = AUTH_FAILURES.max): void {
  for (let n = 0; n < times; n++) failures.failed(address);
}

test("an address that has spent its failures waits for the rest of the window", () => {
  const clock = new HandClock();
  const failures = new AuthFailures(clock);
  spend(failures, "a", AUTH_FAILURES.max - 1);
  expect(failures.waitMs("a")).toBe(0);
  clock.advance(10_000);
  failures.failed("a");
  expect(failures.waitMs("a")).toBe(AUTH_FAILURES.windowMs - 10_000);
  expect(failures.waitMs("b")).toBe(0);
  clock.advance(AUTH_FAILURES.windowMs - 10_000);
  expect(failures.waitMs("a")).toBe(0);
});

test("tries that are under way count until they are over, and only for their own address", () => {
  const failures = new AuthFailures(new HandClock());
  const tries = Array.from({ length: AUTH_FAILURES.max - 1 }, () => failures.begin("a"));
  expect(failures.waitMs("a")).toBe(0);
  expect(failures.failed("a")).toBe(false);
  expect([failures.waitMs("a"), failures.waitMs("b")]).toEqual([AUTH_FAILURES.underWayMs, 0]);
  for (const one of tries) one.end();
  expect(failures.waitMs("a")).toBe(0);
  spend(failures, "a", AUTH_FAILURES.max - 2);
  expect(failures.failed("a")).toBe(true);
});

test("a flood of addresses is bounded: the oldest is forgotten", () => {
  const failures = new AuthFailures(new HandClock());
  spend(failures, "first");
  spend(failures, "second");
  for (let n = 0; n < AUTH_FAILURES.addressesMax - 1; n++) failures.failed(`flood${n}`);
  expect(failures.waitMs("first")).toBe(0);
  expect(failures.waitMs("second")).toBeGreaterThan(0);
});
