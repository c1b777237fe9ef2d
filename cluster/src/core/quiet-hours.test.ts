import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { Hours, hoursText, isQuiet, quietness, untilText } from "./quiet-hours.ts";

const BERLIN = "Europe/Berlin";
const MINUTE_MS = 60_000;
const HOUR_MS = 60 * MINUTE_MS;
const hours = (quiet: string[], more: object = {}): Hours => Hours.parse({ quiet, ...more });
/** In UTC. */
const at = (iso: string): number => Date.parse(`${iso}Z`);
const nights = hours(["22:00-07:00"], { timeZone: BERLIN });
const ask = (rule: Hours, iso: string) => quietness(rule, { now: at(iso), timeZone: "UTC" });
const endOf = (rule: Hours, iso: string): string => new Date(ask(rule, iso).until ?? NaN).toISOString().slice(0, 16);

describe("a window", () => {
  const office = hours(["09:00-12:00", "13:00-17:30"]);
  test.each([
    [office, "2026-06-01T08:59", false],
    [office, "2026-06-01T09:00", true],
    [office, "2026-06-01T11:59:59.999", true],
    [office, "2026-06-01T12:00", false],
    [office, "2026-06-01T17:29", true],
    [hours(["22:00-07:00"]), "2026-06-01T23:00", true],
    [hours(["22:00-07:00"]), "2026-06-01T06:59", true],
    [hours(["22:00-07:00"]), "2026-06-01T07:00", false],
    [hours(["00:00-24:00"]), "2026-06-01T00:00", true],
  ])("%j at %s: %s (Q1)", (rule, iso, expected) => {
    expect(isQuiet(rule, { now: at(iso), timeZone: "UTC" })).toBe(expected);
  });

  test("begins on its days, and ends on the day after (Q2)", () => {
    const weekend = hours(["22:00-07:00"], { days: ["fri"] });
    // 2026-06-05 is a Friday.
    expect(ask(weekend, "2026-06-05T06:00").quiet).toBe(false);
    expect(ask(weekend, "2026-06-05T22:00").quiet).toBe(true);
    expect(ask(weekend, "2026-06-06T06:59").quiet).toBe(true);
    expect(ask(weekend, "2026-06-06T22:00").quiet).toBe(false);
    expect(ask(weekend, "2026-06-06T22:00").until).toBe(at("2026-06-12T22:00"));
  });

  test("is in the policy's zone, else in the machine's", () => {
    const now = at("2026-06-01T20:30");
    expect(isQuiet(nights, { now, timeZone: "UTC" })).toBe(true);
    expect(isQuiet(hours(["22:00-07:00"]), { now, timeZone: "UTC" })).toBe(false);
    expect(isQuiet(hours(["22:00-07:00"]), { now, timeZone: BERLIN })).toBe(true);
  });

  test("windows that touch are one; what never ends has no end", () => {
    expect(endOf(hours(["20:00-23:00", "22:00-24:00", "00:00-06:00"]), "2026-06-01T21:00")).toBe("2026-06-02T06:00");
    expect(ask(hours(["00:00-24:00"]), "2026-06-01T21:00")).toEqual({ quiet: true });
    expect(ask(hours(["00:00-12:00", "12:00-00:00"]), "2026-06-01T21:00")).toEqual({ quiet: true });
  });

  test.each([["22-7"], ["24:00-01:00"], ["25:00-26:00"], ["9:00-10:00"], ["10:00-10:00"], ["10:60-11:00"], ["10:00-24:01"], [""]])(
    "%j is none",
    (text) => {
      expect(Hours.safeParse({ quiet: [text] }).success).toBe(false);
    },
  );

  test("a zone that does not exist, a day that does not, and an unknown word are errors", () => {
    for (const more of [{ timeZone: "Europe/Berln" }, { timeZone: "" }, { days: ["monday"] }, { days: [] }, { pined: true }])
      expect(Hours.safeParse({ quiet: ["22:00-07:00"], ...more }).success).toBe(false);
  });
});

describe("when clocks are moved", () => {
  // Berlin, 2026: forward on March 29 at 01:00 UTC (02:00 becomes 03:00), back on October 25 at 01:00 UTC (03:00 becomes 02:00).
  test("a night is an hour shorter or longer", () => {
    expect(endOf(nights, "2026-03-28T21:00")).toBe("2026-03-29T05:00");
    expect(endOf(nights, "2026-10-24T20:00")).toBe("2026-10-25T06:00");
    expect(endOf(nights, "2026-03-29T04:59:30")).toBe("2026-03-29T05:00");
  });

  test("a window within the hour that is left out does not happen; one that reaches into it ends or begins with it", () => {
    const lost = hours(["02:15-02:45"], { timeZone: BERLIN });
    expect(endOf(lost, "2026-03-28T12:00")).toBe("2026-03-30T00:15");
    const into = hours(["01:30-02:30"], { timeZone: BERLIN });
    expect(ask(into, "2026-03-29T00:59").quiet).toBe(true);
    expect(endOf(into, "2026-03-29T00:30")).toBe("2026-03-29T01:00");
    expect(endOf(hours(["02:30-05:00"], { timeZone: BERLIN }), "2026-03-29T00:00")).toBe("2026-03-29T01:00");
  });

  test("a window within the hour that comes twice happens twice", () => {
    const twice = hours(["02:15-02:45"], { timeZone: BERLIN });
    expect(endOf(twice, "2026-10-24T12:00")).toBe("2026-10-25T00:15");
    expect(endOf(twice, "2026-10-25T00:15")).toBe("2026-10-25T00:45");
    expect(endOf(twice, "2026-10-25T00:45")).toBe("2026-10-25T01:15");
  });

  test("by half an hour, and at midnight", () => {
    // Lord Howe goes back by 30 minutes on April 5 2026 at 15:00 UTC of April 4; Beirut forward at midnight of March 29.
    expect(endOf(hours(["01:00-02:00"], { timeZone: "Australia/Lord_Howe" }), "2026-04-04T14:00")).toBe("2026-04-04T15:30");
    expect(endOf(hours(["23:00-00:30"], { timeZone: "Asia/Beirut" }), "2026-03-28T21:00")).toBe("2026-03-28T22:00");
  });
});

const two = (n: number): string => String(n).padStart(2, "0");
const clock = fc.integer({ min: 0, max: 1_439 }).map((minute) => `${two(Math.floor(minute / 60))}:${two(minute % 60)}`);
const anyHours = fc
  .record(
    {
      quiet: fc.array(
        fc
          .tuple(clock, clock)
          .filter(([from, to]) => from !== to)
          .map((ends) => ends.join("-")),
        { minLength: 1, maxLength: 3 },
      ),
      days: fc.subarray(["mon", "tue", "wed", "thu", "fri", "sat", "sun"], { minLength: 1 }),
      timeZone: fc.constantFrom(BERLIN, "America/New_York", "Australia/Lord_Howe", "Asia/Kathmandu", "Asia/Beirut", "UTC", "+05:30"),
    },
    { requiredKeys: ["quiet", "timeZone"] },
  )
  .map((raw) => Hours.parse(raw));
/** Half of them within two days of a change in one of the zones. */
const anyTime = fc.oneof(
  fc.integer({ min: at("2020-01-01T00:00"), max: at("2040-01-01T00:00") }),
  fc
    .tuple(
      fc.constantFrom(
        "2026-03-29T01:00",
        "2026-10-25T01:00",
        "2026-03-08T07:00",
        "2026-11-01T06:00",
        "2026-04-04T15:00",
        "2026-10-03T15:30",
      ),
      fc.integer({ min: -48 * HOUR_MS, max: 48 * HOUR_MS }),
    )
    .map(([iso, off]) => at(iso) + off),
);

/** By another way: the wall's clock as a text, and each window as texts to compare. */
function quietByText({ quiet, days, timeZone }: Hours, now: number): boolean {
  const wall = new Date(now).toLocaleString("sv-SE", { timeZone: timeZone as string });
  const time = wall.slice(11, 16);
  const nameOf = (off: number): string =>
    new Intl.DateTimeFormat("en-GB", { weekday: "short", timeZone: "UTC" })
      .format(Date.parse(`${wall.slice(0, 10)}T12:00Z`) + off)
      .toLowerCase();
  const isDay = (off: number): boolean => days === undefined || (days as string[]).includes(nameOf(off));
  return quiet.some((text) => {
    const [from = "", to = ""] = text.split("-");
    if (from < to) return time >= from && time < to && isDay(0);
    return (time >= from && isDay(0)) || (time < to && isDay(-24 * HOUR_MS));
  });
}

test("it is quiet when the wall's clock says so", () => {
  fc.assert(
    fc.property(anyHours, anyTime, (rule, now) => {
      expect(isQuiet(rule, { now, timeZone: "UTC" })).toBe(quietByText(rule, now));
    }),
    { numRuns: 200 },
  );
});

test("nothing changes before `until`, and then it does (Q3)", () => {
  fc.assert(
    fc.property(anyHours, anyTime, (rule, now) => {
      const { quiet, until } = quietness(rule, { now, timeZone: "UTC" });
      expect(quiet).toBe(quietByText(rule, now));
      const end = until ?? now + 8 * 24 * HOUR_MS;
      expect(end).toBeGreaterThan(now);
      for (let minute = now - (now % MINUTE_MS) + MINUTE_MS; minute < end; minute += MINUTE_MS * (until === undefined ? 61 : 7))
        expect(isQuiet(rule, { now: minute, timeZone: "UTC" })).toBe(quiet);
      if (until === undefined) return;
      expect(isQuiet(rule, { now: until - 1, timeZone: "UTC" })).toBe(quiet);
      expect(isQuiet(rule, { now: until, timeZone: "UTC" })).toBe(!quiet);
    }),
    { numRuns: 60 },
  );
});

test("in words", () => {
  const now = at("2026-06-05T21:00");
  expect(untilText(at("2026-06-06T05:00"), nights, { now, timeZone: "UTC" })).toBe("07:00 (Europe/Berlin)");
  expect(untilText(at("2026-06-08T05:00"), nights, { now, timeZone: "UTC" })).toBe("mon 07:00 (Europe/Berlin)");
  expect(hoursText(nights, "UTC")).toBe("22:00-07:00 (Europe/Berlin)");
  expect(hoursText(hours(["09:00-12:00", "13:00-17:00"], { days: ["mon", "fri"] }), "UTC")).toBe(
    "09:00-12:00 13:00-17:00 on mon fri (UTC)",
  );
});
