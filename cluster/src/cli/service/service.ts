/**
 * A service manager of an operating system, as `service` sees it: it takes a unit, forgets it, and says how it does. One file for
 * each manager; what they share stands here.
 *
 * V1. Installing twice is installing once: where the unit says already what it should and runs, nothing is touched.
 * V2. A unit of that name that belongs to another home is neither replaced nor removed.
 * V3. Programs are called with arrays of arguments, have a time limit, and fail with what to do next.
 */
import { chmod, mkdir, readFile, rm } from "node:fs/promises";
import path from "node:path";
import { ClusterError } from "@openclaw-cluster/contract/errors";
import { readTextFile, writePrivateFile, type Environment } from "../../system/folders.ts";
import { runShort, type ShortRun } from "../../system/short-program.ts";
import { plainLine } from "../terminal.ts";
import type { ServicePlan } from "./plan.ts";

export interface Service {
  /** "systemd (user unit)" */
  readonly kind: string;
  readonly file: string;
  /** The whole unit. */
  readonly text: string;
  install(): Promise<Installed>;
  uninstall(): Promise<{ readonly removed: boolean }>;
  status(): Promise<ServiceState>;
}

export interface Installed {
  /** False: it was so already, and was left alone. */
  readonly changed: boolean;
  /** What a person should know or do now. */
  readonly notes: readonly string[];
}

export interface ServiceState {
  readonly installed: boolean;
  readonly state: "running" | "restarting" | "failed" | "stopped" | "unknown";
  readonly pid?: number;
  /** Of its last run that ended. */
  readonly exitCode?: number;
  /** It names this program, this Node and this home. */
  readonly current?: boolean;
  readonly notes: readonly string[];
}

export interface ServiceGround {
  readonly plan: ServicePlan;
  readonly env: Environment;
  readonly userHome: string;
  readonly uid: number;
  readonly userName: string;
}

const CALL_MS_MAX = 30_000;

export type Call = (...argv: readonly [string, ...string[]]) => Promise<ShortRun & { kind: "ended" }>;

/** `instead`: what to do where the program is not there. Throws service_failed unless it ended by itself, with whatever code. */
export function caller(env: Environment, instead: string, timeoutMs = CALL_MS_MAX): Call {
  return async (...argv) => {
    const run = await runShort(argv, { env, timeoutMs });
    if (run.kind === "ended") return run;
    const what = run.kind === "absent" ? `there is no ${argv[0]} here` : run.reason;
    throw new ClusterError("service_failed", `${what}. ${instead}`);
  };
}

/** Throws service_failed with what the program said unless it ended well. */
export async function must(call: Call, ...argv: readonly [string, ...string[]]): Promise<string> {
  const run = await call(...argv);
  if (run.code === 0) return run.stdout;
  throw new ClusterError("service_failed", `\`${argv.join(" ")}\` failed: ${saidBy(run)}`);
}

export function saidBy({ stdout, stderr, code }: ShortRun & { kind: "ended" }): string {
  const [line = ""] = `${stderr}\n${stdout}`.split(/[\r\n]+/).filter((text) => text.trim() !== "");
  return plainLine(line).slice(0, 300) || `exit code ${code}`;
}

/** The unit that lies there (V2); undefined where there is none. `mark`: what is in one of this home. */
export async function ownUnit(file: string, home: string, mark: string, encoding: BufferEncoding = "utf8"): Promise<string | undefined> {
  const text = encoding === "utf8" ? await readTextFile(file) : await readUtf16(file);
  if (text === undefined || text.includes(mark)) return text;
  throw new ClusterError(
    "state_conflict",
    `${file} is of another folder than ${home}; say that one with --home, or give this one's service a name of its own with --name`,
  );
}

async function readUtf16(file: string): Promise<string | undefined> {
  return readFile(file, "utf16le").then(
    (text) => text.replace(/^\uFEFF/, ""),
    (error: NodeJS.ErrnoException) => {
      if (error.code === "ENOENT") return undefined;
      throw error;
    },
  );
}

/** Service managers of a machine run as other users than the one whose unit it is; there is no secret in it. */
const UNIT_MODE = 0o644;

export async function writeUnit(file: string, text: string | Uint8Array): Promise<void> {
  await mkdir(path.dirname(file), { recursive: true });
  await writePrivateFile(file, text);
  await chmod(file, UNIT_MODE);
}

export function notWritten(file: string, cause: unknown): ClusterError {
  return new ClusterError("service_failed", `${file} cannot be written: ${(cause as Error).message}`, { cause });
}

export const removeUnit = (file: string): Promise<void> => rm(file, { force: true });
