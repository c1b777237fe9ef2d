/** A log that is thrown away, but for how much of it there was, and the beginning of its longest line. */
import { pino } from "pino";
import type { Log } from "../../cluster/src/system/log.ts";

export interface Counted {
  lines: number;
  longestChars: number;
  longest: string;
}

const SHOWN_CHARS = 400;

export function countingLog(): { log: Log; counted: Counted } {
  const counted: Counted = { lines: 0, longestChars: 0, longest: "" };
  const write = (line: string): void => {
    counted.lines += 1;
    if (line.length > counted.longestChars) Object.assign(counted, { longestChars: line.length, longest: line.slice(0, SHOWN_CHARS) });
  };
  return { log: pino({ level: "info" }, { write }), counted };
}
