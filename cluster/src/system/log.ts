/** One logger for the process. JSON lines to a file or stderr, never to stdout, which belongs to the command's answer. */
import { pino, type Logger } from "pino";

export type Log = Pick<Logger, "debug" | "info" | "warn" | "error" | "child">;
export type LogLevel = "debug" | "info" | "warn" | "error" | "silent";

export function openLog(options: { level: LogLevel; file?: string }): Log {
  const destination = pino.destination(
    options.file === undefined ? { fd: 2, sync: true } : { dest: options.file, mkdir: true, sync: false },
  );
  // Paths are redacted as a second line of defence; the first is that no secret is handed to a log call.
  return pino(
    { level: options.level, base: null, redact: ["token", "*.token", "authorization", "*.authorization", "seed", "*.seed"] },
    destination,
  );
}

export const silentLog: Log = pino({ level: "silent" });
