/**
 * Tells when this machine is about to sleep and when it is awake again, where its system announces that.
 *
 * N1. `sleeps` may take its time: where the system allows it, the sleep is held back until the promise is settled.
 * N2. After the end of the program that tells, sleep is over: nobody would tell of the waking. It is started again.
 * N3. Nothing of it outlives the daemon, however that ends, and nothing of it is given a secret of the daemon's environment.
 */
import { spawn, type ChildProcess } from "node:child_process";
import { existsSync } from "node:fs";
import { createInterface } from "node:readline";
import type { Clock, Timer } from "./clock.ts";
import type { Environment } from "./folders.ts";
import type { Log } from "./log.ts";
import { programEnvironment } from "./program-environment.ts";
import { sleepProgram, type SleepProgram } from "./sleep-programs.ts";

/** From the end of the program to its next start: it has no reason to end, so it would only end again. */
const AGAIN_MS = 60_000;
const SYSTEM_BUS = "/run/dbus/system_bus_socket";

export interface SleepWatchParts {
  readonly clock: Clock;
  readonly log: Log;
  readonly env: Environment;
  /** The machine is about to sleep. Never rejects. */
  sleeps(): Promise<void>;
  wakes(): void;
}

export interface SleepWatch {
  close(): void;
}

/** undefined: nothing on this machine tells of its sleep. */
export function openSleepWatch(parts: SleepWatchParts, platform: NodeJS.Platform = process.platform): SleepWatch | undefined {
  const program = sleepProgram(platform, process.pid);
  if (program === undefined) return undefined;
  // A server or container without a system bus does not sleep.
  if (platform === "linux" && parts.env["DBUS_SYSTEM_BUS_ADDRESS"] === undefined && !existsSync(SYSTEM_BUS)) return undefined;
  const watch = new ProgramWatch(parts, program);
  watch.start();
  return watch;
}

class ProgramWatch implements SleepWatch {
  private readonly parts: SleepWatchParts;
  private readonly program: SleepProgram;
  private teller: ChildProcess | undefined;
  private holder: ChildProcess | undefined;
  private again: Timer | undefined;
  private closed = false;
  private told = false;

  constructor(parts: SleepWatchParts, program: SleepProgram) {
    this.parts = parts;
    this.program = program;
  }

  start(): void {
    this.hold();
    const teller = this.spawn(this.program.argv, "pipe");
    this.teller = teller;
    const lines = createInterface({ input: teller.stdout! });
    lines.on("line", (line) => this.hear(this.program.read(line)));
    lines.once("close", () => {
      if (this.closed) return;
      this.parts.log[this.told ? "debug" : "info"](
        { program: this.program.name },
        "nothing tells of this machine's sleep; its silence will",
      );
      this.told = true;
      teller.stdin?.end();
      this.letGo();
      this.parts.wakes();
      this.again = this.parts.clock.after(AGAIN_MS, () => this.start());
    });
  }

  close(): void {
    this.closed = true;
    this.again?.cancel();
    this.teller?.stdin?.end();
    this.letGo();
  }

  private hear(word: "sleep" | "wake" | undefined): void {
    if (this.closed || word === undefined) return;
    this.parts.log.info(word === "sleep" ? "this machine is about to sleep" : "this machine is awake again");
    if (word === "sleep") void this.parts.sleeps().finally(() => this.letGo());
    else {
      this.hold();
      this.parts.wakes();
    }
  }

  private hold(): void {
    const { hold } = this.program;
    if (hold !== undefined) this.holder ??= this.spawn(hold, "ignore");
  }

  private letGo(): void {
    this.holder?.stdin?.end();
    this.holder = undefined;
  }

  private spawn([command, ...args]: readonly [string, ...string[]], stdout: "pipe" | "ignore"): ChildProcess {
    const child = spawn(command, args, { env: programEnvironment(this.parts.env), stdio: ["pipe", stdout, "ignore"], windowsHide: true });
    child.once("error", (error) =>
      this.parts.log.debug({ err: error }, "a program that has to do with this machine's sleep did not start"),
    );
    // EPIPE: it has ended, which its stdout tells.
    child.stdin?.on("error", () => undefined);
    child.unref();
    for (const stream of [child.stdin, child.stdout]) (stream as { unref?(): void } | null)?.unref?.();
    return child;
  }
}
