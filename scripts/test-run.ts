/**
 * One run of vitest with a temporary folder and an id of its own. When it is over, the folder goes, and a process that
 * is still there counts as a failure of the run, is named and is ended.
 */
import { spawn } from "node:child_process";
import { randomBytes } from "node:crypto";
import { mkdirSync, readFileSync, rmSync } from "node:fs";
import { constants, tmpdir } from "node:os";
import { join } from "node:path";
import { COUNTS_FILE, type Counts } from "../tests/support/count-reporter.ts";
import { endLeakedProcesses } from "../tests/support/leaked-processes.ts";
import { ROOT } from "./checks.ts";

export type Level = "unit" | "simulation" | "integration" | "hosts" | "faults";
/** What `npm test` runs; the faults take longer and have a command of their own. */
export const LEVELS: readonly Level[] = ["unit", "simulation", "integration", "hosts"];

export interface RunEnd extends Counts {
  /** 130 and the like where a person or a machine stopped the run; undefined else. */
  readonly stopped?: number;
}

/** All levels together take half an hour on a quiet machine of two cores; what takes this long hangs. The faults wait for time-outs on purpose. */
const RUN_LIMIT_MS = 80 * 60_000;
const FAULTS_LIMIT_MS = 90 * 60_000;
const STOP_SIGNALS = ["SIGINT", "SIGTERM", "SIGHUP"] as const;
/** For vitest to end its workers after a signal. */
const STOP_MS = 10_000;

export async function runTests(levels: readonly Level[], passedOn: readonly string[]): Promise<RunEnd> {
  const runId = randomBytes(4).toString("hex");
  // Short, because paths of local sockets end at about a hundred characters.
  const folder = join(tmpdir(), `occ-${runId}`);
  mkdirSync(folder);
  const countsFile = join(folder, "counts.json");
  try {
    const env = { ...cleanEnvironment(), OPENCLAW_CLUSTER_TEST_RUN: `occ-${runId}`, [COUNTS_FILE]: countsFile, ...temporary(folder) };
    const { code, stopped } = await runVitest([...levels.flatMap((level) => ["--project", level]), ...passedOn], env, limitOf(levels));
    const leaked = await endLeakedProcesses(`occ-${runId}`);
    for (const { pid, command } of leaked) console.log(`✗ left behind by the tests, ended now: process ${pid}: ${command}`);
    const counts = readCounts(countsFile);
    // A run that ended badly without a failed test has a fault of its own: it is one more failure, never a silent one.
    const silent = code !== 0 && counts.failed === 0 ? 1 : 0;
    return { ...counts, failed: counts.failed + silent + leaked.length, ...(stopped !== undefined && { stopped }) };
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

const temporary = (folder: string): NodeJS.ProcessEnv => ({ TMPDIR: folder, TEMP: folder, TMP: folder });

/** A developer's own cluster or Gateway is none of the tests' business; only where the real programs lie is. */
function cleanEnvironment(): NodeJS.ProcessEnv {
  return Object.fromEntries(
    Object.entries(process.env).filter(([name]) => !name.startsWith("OPENCLAW_") || /^OPENCLAW_CLUSTER_(CACHE|\w+_BIN)$/.test(name)),
  );
}

const limitOf = (levels: readonly Level[]): number => (levels.includes("faults") ? FAULTS_LIMIT_MS : RUN_LIMIT_MS);

async function runVitest(
  args: readonly string[],
  env: NodeJS.ProcessEnv,
  limitMs: number,
): Promise<{ code: number | null; stopped?: number }> {
  const vitest = spawn(process.execPath, [join(ROOT, "node_modules/vitest/vitest.mjs"), "run", ...args], {
    cwd: ROOT,
    env,
    stdio: ["ignore", "inherit", "inherit"],
  });
  const ended = Promise.withResolvers<number | null>();
  vitest.once("error", ended.reject);
  vitest.once("exit", ended.resolve);
  const end = (): void => {
    vitest.kill("SIGTERM");
    setTimeout(() => vitest.kill("SIGKILL"), STOP_MS).unref();
  };
  let stopped: number | undefined;
  const stop = (signal: NodeJS.Signals): void => {
    stopped = 128 + constants.signals[signal];
    end();
  };
  const limit = setTimeout(() => {
    console.log(`✗ the tests took longer than ${limitMs / 60_000} minutes`);
    end();
  }, limitMs);
  for (const signal of STOP_SIGNALS) process.on(signal, stop);
  const code = await ended.promise;
  clearTimeout(limit);
  for (const signal of STOP_SIGNALS) process.off(signal, stop);
  return { code, ...(stopped !== undefined && { stopped }) };
}

function readCounts(file: string): Counts {
  try {
    return JSON.parse(readFileSync(file, "utf8")) as Counts;
  } catch (error) {
    console.log(`✗ vitest ended before it counted (${(error as Error).message})`);
    return { passed: 0, failed: 0, skipped: 0 };
  }
}
