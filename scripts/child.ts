/** Processes of the demonstration, the benchmark and the tests: started with their output watched, ended by their own id. */
import { spawn, type ChildProcess } from "node:child_process";

const END_MS = 10_000;

export interface ProcessEnd {
  /** null where a signal ended it. */
  readonly code: number | null;
  readonly stdout: string;
  readonly stderr: string;
}

export interface Running {
  readonly pid: number;
  /** Resolves when a line of its output fits. Rejects when it ends first. */
  says(pattern: RegExp): Promise<string>;
  /** When it has ended, however it did. */
  ended(): Promise<ProcessEnd>;
  /** Everything it printed on stdout, when it has ended well. */
  output(): Promise<string>;
  end(signal?: NodeJS.Signals): Promise<void>;
}

const alive = new Set<ChildProcess>();

/** For a program that is told to end in the middle: nothing that it started may go on. */
export function endOnSignal(): void {
  for (const signal of ["SIGINT", "SIGTERM"] as const) {
    process.once(signal, () => {
      for (const child of alive) child.kill();
      process.exit(130);
    });
  }
}

export function run(program: string, argv: readonly string[], env: Readonly<Record<string, string>> = {}): Running {
  const child = spawn(program, argv, { env: { ...process.env, ...env }, stdio: ["ignore", "pipe", "pipe"] });
  let stdout = "";
  let stderr = "";
  const listeners = new Set<() => void>();
  const heard = (): void => listeners.forEach((listener) => listener());
  child.stdout.on("data", (text: Buffer) => ((stdout += text.toString()), heard()));
  child.stderr.on("data", (text: Buffer) => ((stderr += text.toString()), heard()));
  alive.add(child);
  const gone = new Promise<number | null>((resolve) => child.once("close", (code) => (alive.delete(child), resolve(code), heard())));
  const failure = (): Error => new Error(`${program} ${argv.join(" ")} ended:\n${stderr.slice(-2_000)}`);
  return {
    pid: child.pid as number,
    says: (pattern) =>
      new Promise((resolve, reject) => {
        const look = (): void => {
          const found = pattern.exec(stdout) ?? pattern.exec(stderr);
          if (found === null && !isGone(child)) return;
          listeners.delete(look);
          if (found === null) reject(failure());
          else resolve(found[1] ?? found[0]);
        };
        listeners.add(look);
        look();
      }),
    ended: async () => ({ code: await gone, stdout, stderr }),
    output: async () => {
      if ((await gone) !== 0) throw failure();
      return stdout;
    },
    end: async (signal = "SIGTERM") => {
      if (isGone(child)) return;
      child.kill(signal);
      const force = setTimeout(() => child.kill("SIGKILL"), END_MS);
      await gone;
      clearTimeout(force);
    },
  };
}

function isGone(child: ChildProcess): boolean {
  return child.exitCode !== null || child.signalCode !== null;
}
