/** One logger for the process. JSON lines to a file, never to stdout, which belongs to the command's answer. */
import { pino, type Logger } from "pino";

export type Log = Pick<Logger, "debug" | "info" | "warn" | "error" | "child">;
export type LogLevel = "debug" | "info" | "warn" | "error" | "silent";

/** `reopen` goes on in another file. */
export function openLog({ level, file }: { level: LogLevel; file: string }): { log: Log; reopen(file: string): void } {
  const destination = pino.destination({ dest: file, mkdir: true, sync: false });
  // Paths are redacted as a second line of defence; the first is that no secret is handed to a log call.
  const log = pino({ level, base: null, redact: ["token", "*.token", "authorization", "*.authorization", "seed", "*.seed"] }, destination);
  return { log, reopen: (next) => destination.reopen(next) };
}

export const silentLog: Log = pino({ level: "silent" });
