/** When the servers get another certificate, on a clock that is moved by hand. */
import { X509Certificate } from "node:crypto";
import { afterEach, beforeAll, beforeEach, expect, it } from "vitest";
import { makeAuthority } from "../../../tests/support/authority.ts";
import { HandClock } from "../../../tests/support/hand-clock.ts";
import { silentLog } from "../system/log.ts";
import type { Authority, ServerCertificate } from "../trust/authority.ts";
import { firstCertificate, renewCertificates, type CertificateParts } from "./server-certificates.ts";

const HOUR_MS = 3_600_000;
const DAY_MS = 24 * HOUR_MS;

let authority: Authority;
let clock: HandClock;
let parts: CertificateParts;
let first: ServerCertificate;
let taken: ServerCertificate[];
let refusals: number;
let renewal: { close(): Promise<void> } | undefined;
beforeAll(async () => {
  authority = makeAuthority(new HandClock().wall());
});
beforeEach(async () => {
  clock = new HandClock();
  parts = { authority, hosts: ["127.0.0.1"], clock, log: silentLog };
  first = firstCertificate(parts);
  taken = [];
  refusals = 0;
  renewal = renewCertificates(parts, first, [take]);
});
afterEach(() => renewal?.close());

function take(certificate: ServerCertificate): void {
  if (refusals > 0) {
    refusals -= 1;
    throw new Error("not now");
  }
  taken.push(certificate);
}

/** Hour by hour; a look that finds nothing due is over at once. */
function pass(hours: number): void {
  for (let hour = 0; hour < hours; hour++) clock.advance(HOUR_MS);
}

const untilTaken = (count: number): Promise<void> => expect.poll(() => taken.length, { interval: 1 }).toBe(count);

it("none while two thirds of its time are not over; then one, by which it goes on", async () => {
  // A day of the 91 lies before its making.
  pass(59 * 24);
  expect(taken).toEqual([]);
  pass(2 * 24);
  await untilTaken(1);
  expect(new X509Certificate(taken[0]?.chain ?? "").serialNumber).not.toBe(new X509Certificate(first.chain).serialNumber);
  expect(taken[0]?.validity.to).toBeGreaterThan(first.validity.to + 55 * DAY_MS);
  pass(58 * 24);
  expect(taken).toHaveLength(1);
  pass(2 * 24);
  await untilTaken(2);
});

it("at the next look after a long sleep, and after the clock was set back before its time (R1)", async () => {
  clock.jump(200 * DAY_MS);
  pass(1);
  await untilTaken(1);
  expect(taken[0]?.validity.to).toBeGreaterThan(clock.wall());
  clock.jump(-200 * DAY_MS);
  pass(1);
  await untilTaken(2);
  expect(taken[1]?.validity.from).toBeLessThan(clock.wall());
});

it("again at the next look where somebody could not take it (R2)", async () => {
  refusals = 1;
  clock.jump(70 * DAY_MS);
  pass(1);
  await expect.poll(() => refusals, { interval: 1 }).toBe(0);
  expect(taken).toEqual([]);
  pass(1);
  await untilTaken(1);
});

it("no more when it is closed", async () => {
  await renewal?.close();
  clock.jump(200 * DAY_MS);
  pass(3);
  expect(taken).toEqual([]);
});

it("the start ends where the authority's own time is over", () => {
  clock.jump(21 * 366 * DAY_MS);
  const late = { code: "config_invalid", detail: expect.stringContaining("this machine's clock shows") as string };
  expect(() => firstCertificate(parts)).toThrow(expect.objectContaining(late) as Error);
});
