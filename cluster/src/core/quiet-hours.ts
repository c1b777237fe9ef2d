/**
 * A policy's quiet hours: when the node begins nothing new. Windows are on the clock of a wall in the policy's time zone,
 * so that 22:00-07:00 is an hour shorter or longer in the two nights in which that clock is moved.
 *
 * Q1. A window holds its first minute and not its last; one whose end is before its beginning ends on the next day.
 * Q2. `days` are those on which a window begins.
 * Q3. Between `now` and `until` nothing changes.
 */
import { z } from "zod";

const DAYS = ["mon", "tue", "wed", "thu", "fri", "sat", "sun"] as const;
const DAY_MINUTES = 1_440;
const WINDOW = /^([01]\d|2[0-3]):([0-5]\d)-(?:([01]\d|2[0-3]):([0-5]\d)|24:00)$/;

const Window = z
  .string()
  .regex(WINDOW, "a window is written as 22:00-07:00")
  .refine((text) => text.slice(0, 5) !== text.slice(6), "a window that ends where it begins says nothing; the whole day is 00:00-24:00");

export const Hours = z.strictObject({
  quiet: z.array(Window).min(1).max(16),
  /** All days unless said. */
  days: z.array(z.enum(DAYS)).min(1).max(7).optional(),
  /** IANA's name, as Europe/Berlin; the machine's own unless said. */
  timeZone: z.string().max(64).refine(isTimeZone, "no such time zone; write it as Europe/Berlin").optional(),
  /** A task whose require.nodes names this node and no other is taken all the same. */
  pinned: z.boolean().default(false),
});
export type Hours = z.infer<typeof Hours>;

/** A moment in a place. `timeZone`: the machine's own. */
export interface Moment {
  /** ms since 1970. */
  readonly now: number;
  readonly timeZone: string;
}

export interface Quietness {
  readonly quiet: boolean;
  /** When that changes, in ms since 1970; absent where it does not within HORIZON_MS. */
  readonly until?: number;
}

const MINUTE_MS = 60_000;
/** A week, and a day for clocks that are moved in it. */
const HORIZON_MS = 8 * DAY_MINUTES * MINUTE_MS;
/** Clocks are moved at full, half or quarter hours of UTC; in between they run like any other. */
const STEP_MS = 15 * MINUTE_MS;

export function isQuiet(hours: Hours, { now, timeZone }: Moment): boolean {
  return quietAt(hours, readWall(now, hours.timeZone ?? timeZone));
}

export function quietness(hours: Hours, { now, timeZone }: Moment): Quietness {
  const zone = hours.timeZone ?? timeZone;
  const quiet = quietAt(hours, readWall(now, zone));
  const edges = [DAY_MINUTES, ...hours.quiet.flatMap((text) => minutesOf(text))].sort((a, b) => a - b);
  for (let at = now; at < now + HORIZON_MS;) {
    const { minute } = readWall(at, zone);
    const edge = edges.find((one) => one > minute) as number;
    const toEdge = (edge - minute) * MINUTE_MS - (at % MINUTE_MS);
    at += Math.min(toEdge, STEP_MS - (at % STEP_MS));
    if (quietAt(hours, readWall(at, zone)) !== quiet) return { quiet, until: at };
  }
  return { quiet };
}

/** For people: "07:00 (Europe/Berlin)", with the day where it is not within the next 24 hours. */
export function untilText(until: number, hours: Hours, { now, timeZone }: Moment): string {
  const zone = hours.timeZone ?? timeZone;
  const { day, minute } = readWall(until, zone);
  const hour = `${two(Math.floor(minute / 60))}:${two(minute % 60)}`;
  return `${until - now < DAY_MINUTES * MINUTE_MS ? hour : `${DAYS[day]} ${hour}`} (${zone})`;
}

/** For people: "22:00-07:00 on mon tue (Europe/Berlin)". */
export function hoursText({ quiet, days, timeZone }: Hours, localTimeZone: string): string {
  return `${quiet.join(" ")}${days === undefined ? "" : ` on ${days.join(" ")}`} (${timeZone ?? localTimeZone})`;
}

interface Wall {
  /** Index into DAYS. */
  readonly day: number;
  readonly minute: number;
}

function quietAt({ quiet, days }: Hours, { day, minute }: Wall): boolean {
  const begins = (one: number): boolean =>
    days === undefined || days.includes(DAYS[(one + DAYS.length) % DAYS.length] as (typeof DAYS)[number]);
  return quiet.some((text) => {
    const [from, to] = minutesOf(text);
    if (from < to) return minute >= from && minute < to && begins(day);
    return (minute >= from && begins(day)) || (minute < to && begins(day - 1));
  });
}

function minutesOf(text: string): [from: number, to: number] {
  const [, fromHour, fromMinute, toHour, toMinute] = WINDOW.exec(text) ?? [];
  return [Number(fromHour) * 60 + Number(fromMinute), toHour === undefined ? DAY_MINUTES : Number(toHour) * 60 + Number(toMinute)];
}

/** To make one costs fifty times what its use does. There are no more of them than time zones in policies. */
const formats = new Map<string, Intl.DateTimeFormat>();

function readWall(at: number, timeZone: string): Wall {
  let format = formats.get(timeZone);
  if (format === undefined) {
    format = new Intl.DateTimeFormat("en-US", { timeZone, weekday: "short", hour: "2-digit", minute: "2-digit", hourCycle: "h23" });
    formats.set(timeZone, format);
  }
  const parts = format.formatToParts(at);
  const part = (type: Intl.DateTimeFormatPartTypes): string => parts.find((one) => one.type === type)?.value ?? "";
  return {
    day: (DAYS as readonly string[]).indexOf(part("weekday").toLowerCase()),
    minute: Number(part("hour")) * 60 + Number(part("minute")),
  };
}

function isTimeZone(timeZone: string): boolean {
  try {
    return new Intl.DateTimeFormat("en-US", { timeZone }).format(0) !== "";
  } catch {
    // What it throws says no more than that there is no such zone.
    return false;
  }
}

const two = (n: number): string => String(n).padStart(2, "0");
