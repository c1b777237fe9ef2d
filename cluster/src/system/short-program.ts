/**
 * Runs one of the system's own programs for its answer: for a limited time, with limited output, without a shell, and with
 * nothing of the daemon's environment that is not on the list of program-environment.ts.
 */
import { execa } from "execa";
import type { Environment } from "./folders.ts";
import { programEnvironment } from "./program-environment.ts";

export type ShortRun =
  | { readonly kind: "ended"; readonly code: number; readonly stdout: string; readonly stderr: string }
  /** There is no such program. */
  | { readonly kind: "absent" }
  | { readonly kind: "failed"; readonly reason: string };

export interface ShortProgram {
  readonly env: Environment;
  readonly timeoutMs: number;
  readonly bytesMax?: number;
}

const BYTES_MAX = 1024 * 1024;

/** Never rejects. */
export async function runShort([program, ...args]: readonly [string, ...string[]], limits: ShortProgram): Promise<ShortRun> {
  const { env, timeoutMs, bytesMax = BYTES_MAX } = limits;
  const run = await execa(program, args, {
    env: programEnvironment(env),
    extendEnv: false,
    stdin: "ignore",
    timeout: timeoutMs,
    killSignal: "SIGKILL",
    maxBuffer: bytesMax,
    reject: false,
    windowsHide: true,
  });
  if (run.timedOut) return { kind: "failed", reason: `${program} gave no answer in ${timeoutMs / 1_000} s` };
  if (run.isMaxBuffer) return { kind: "failed", reason: `${program} answered more than ${bytesMax} bytes` };
  if (run.code === "ENOENT" || run.code === "EACCES") return { kind: "absent" };
  if (run.exitCode === undefined) return { kind: "failed", reason: `${program} did not end by itself (${run.signal ?? run.code ?? "?"})` };
  return { kind: "ended", code: run.exitCode, stdout: run.stdout, stderr: run.stderr };
}
