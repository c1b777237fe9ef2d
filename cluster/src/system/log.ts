/** One logger for the process. JSON lines to a file, never to stdout, which belongs to the command's answer. */
import { pino, type Logger } from "pino";
import { redact } from "./redact.ts";

export type Log = Pick<Logger, "debug" | "info" | "warn" | "error" | "child">;
export type LogLevel = "debug" | "info" | "warn" | "error" | "silent";

/** While the file cannot be written, so much waits in memory and goes into it later; what comes beyond that is dropped. */
const WAITING_BYTES_MAX = 1024 * 1024;

const HIDDEN_FIELDS = ["token", "*.token", "authorization", "*.authorization", "seed", "*.seed"];

/** `reopen` goes on in another file. A disk that is full or broken costs lines of the log, never the daemon. */
export function openLog({ level, file }: { level: LogLevel; file: string }): { log: Log; reopen(file: string): void } {
  const destination = pino.destination({ dest: file, mkdir: true, sync: false, maxLength: WAITING_BYTES_MAX });
  // Without a listener the error would end the process. There is nowhere to write it to; the next line tries again.
  destination.on("error", () => undefined);
  // Fields are hidden as a second line of defence; the first is that no secret is handed to a log call. The third looks at
  // the whole line, because an error's message, or its cause's, can quote an address with a secret in it.
  const log = pino({ level, base: null, redact: HIDDEN_FIELDS, hooks: { streamWrite: redact } }, destination);
  return { log, reopen: (next) => destination.reopen(next) };
}

export const silentLog: Log = pino({ level: "silent" });
