/** A log that is thrown away, but for how much of it there was, by what it said, and the beginning of its longest line. */
import { pino } from "pino";
import type { Log } from "../../cluster/src/system/log.ts";

export interface Counted {
  lines: number;
  /** Lines, by their message. */
  readonly said: Map<string, number>;
  longestChars: number;
  longest: string;
}

const SHOWN_CHARS = 400;
const MESSAGE_CHARS = 100;
/** Different ones that are counted; a program has some hundred. */
const MESSAGES_MAX = 1_000;

export function countingLog(): { log: Log; counted: Counted } {
  const counted: Counted = { lines: 0, said: new Map(), longestChars: 0, longest: "" };
  const write = (line: string): void => {
    counted.lines += 1;
    const { msg } = JSON.parse(line) as { readonly msg?: string };
    const message = (msg ?? "").slice(0, MESSAGE_CHARS);
    if (counted.said.size < MESSAGES_MAX || counted.said.has(message)) counted.said.set(message, (counted.said.get(message) ?? 0) + 1);
    if (line.length > counted.longestChars) Object.assign(counted, { longestChars: line.length, longest: line.slice(0, SHOWN_CHARS) });
  };
  return { log: pino({ level: "info" }, { write }), counted };
}
