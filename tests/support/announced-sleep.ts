/**
 * Stands in for systemd-logind: the two programs through which a daemon hears of its machine's sleep and holds it back, on
 * a PATH of their own. A test writes the signals and reads whether the sleep is held.
 */
import { appendFileSync, chmodSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import path from "node:path";

export interface AnnouncedSleep {
  readonly env: Readonly<Record<string, string>>;
  /** logind's PrepareForSleep. */
  signal(sleeps: boolean): void;
  /** "held" and "released", in turns. */
  holds(): string[];
  /** Ends the program that tells of the signals. */
  hush(): void;
  remove(): void;
}

export function announcedSleep(): AnnouncedSleep {
  const folder = mkdtempSync(path.join(tmpdir(), "ocx-sleep-"));
  const [signals, holds, pid] = ["signals", "holds", "pid"].map((name) => path.join(folder, name)) as [string, string, string];
  for (const file of [signals, holds]) writeFileSync(file, "");
  const program = (name: string, script: string): void => {
    const file = path.join(folder, name);
    writeFileSync(file, `#!/bin/sh\n${script}\n`);
    chmodSync(file, 0o755);
  };
  program("gdbus", `echo $$ >${pid}; exec tail -n 0 -f ${signals}`);
  program("systemd-inhibit", `echo held >>${holds}; cat >/dev/null; echo released >>${holds}`);
  return {
    env: { PATH: `${folder}:${process.env["PATH"]}`, DBUS_SYSTEM_BUS_ADDRESS: `unix:path=${folder}/bus` },
    signal: (sleeps) => appendFileSync(signals, `/org/freedesktop/login1: org.freedesktop.login1.Manager.PrepareForSleep (${sleeps},)\n`),
    holds: () => readFileSync(holds, "utf8").split("\n").filter(Boolean),
    hush: () => void process.kill(Number(readFileSync(pid, "utf8")), "SIGTERM"),
    remove: () => rmSync(folder, { recursive: true, force: true }),
  };
}
