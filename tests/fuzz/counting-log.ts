/** A log that is thrown away, but for how much of it there was, and its longest line. */
import { pino } from "pino";
import type { Log } from "../../cluster/src/system/log.ts";

export interface Counted {
  lines: number;
  bytes: number;
  longest: string;
}

const SHOWN_CHARS = 4_000;

export function countingLog(): { log: Log; counted: Counted } {
  const counted: Counted = { lines: 0, bytes: 0, longest: "" };
  const write = (line: string): void => {
    counted.lines += 1;
    counted.bytes += line.length;
    if (line.length > counted.longest.length) counted.longest = line.slice(0, SHOWN_CHARS);
  };
  return { log: pino({ level: "info" }, { write }), counted };
}
