/**
 * A log for what somebody else can cause as often as they like: a node that sends rubbish must not fill the disk with our complaints
 * about it. Of each party some lines a minute are written; how many were left out, the next one says.
 */
import type { Clock } from "./clock.ts";
import type { Log } from "./log.ts";
import { MinuteLimit } from "./minute-limit.ts";

export const SPARING = {
  /** Of one party, for all that it does, in a minute. */
  linesMax: 10,
  /** Parties remembered; beyond it the oldest is forgotten. */
  partiesMax: 4_096,
} as const;

export interface SparingLog {
  warn(party: string, fields: object, message: string): void;
  /** What is nobody's fault as such, but can be had as often. */
  info(party: string, fields: object, message: string): void;
}

export function sparingLog(
  log: Pick<Log, "warn" | "info">,
  clock: Pick<Clock, "monotonic">,
  linesMax: number = SPARING.linesMax,
): SparingLog {
  const limit = new MinuteLimit(clock, linesMax, SPARING.partiesMax);
  const write = (level: "warn" | "info", party: string, fields: object, message: string): void => {
    const leftOut = limit.take(party);
    if (leftOut !== undefined) log[level]({ ...fields, ...(leftOut > 0 && { leftOut }) }, message);
  };
  return {
    warn: (party, fields, message) => write("warn", party, fields, message),
    info: (party, fields, message) => write("info", party, fields, message),
  };
}
