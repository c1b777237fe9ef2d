/**
 * A log for what somebody else can cause as often as they like: a node that sends rubbish must not fill the disk with our complaints
 * about it. Of each party some lines a minute are written; how many were left out, the next one says.
 */
import type { Clock } from "./clock.ts";
import type { Log } from "./log.ts";

export const SPARING = {
  /** Of one party, for all that it does, in one window. */
  linesMax: 10,
  windowMs: 60_000,
  /** Parties remembered; beyond it the oldest is forgotten. */
  partiesMax: 4_096,
} as const;

export interface SparingLog {
  warn(party: string, fields: object, message: string): void;
  /** What is nobody's fault as such, but can be had as often. */
  info(party: string, fields: object, message: string): void;
}

interface Window {
  readonly until: number;
  lines: number;
  leftOut: number;
}

export function sparingLog(
  log: Pick<Log, "warn" | "info">,
  clock: Pick<Clock, "monotonic">,
  linesMax: number = SPARING.linesMax,
): SparingLog {
  const windows = new Map<string, Window>();
  const write = (level: "warn" | "info", party: string, fields: object, message: string): void => {
    const now = clock.monotonic();
    const before = windows.get(party);
    if (before !== undefined && now < before.until) {
      before.lines += 1;
      if (before.lines > linesMax) before.leftOut += 1;
      else log[level](fields, message);
      return;
    }
    windows.delete(party);
    const [oldest] = windows.size < SPARING.partiesMax ? [] : windows.keys();
    if (oldest !== undefined) windows.delete(oldest);
    windows.set(party, { until: now + SPARING.windowMs, lines: 1, leftOut: 0 });
    const leftOut = before?.leftOut ?? 0;
    log[level]({ ...fields, ...(leftOut > 0 && { leftOut }) }, message);
  };
  return {
    warn: (party, fields, message) => write("warn", party, fields, message),
    info: (party, fields, message) => write("info", party, fields, message),
  };
}
