/**
 * What a machine runs on, as its system tells: one way of reading for each system, and no rights needed for any of them.
 *
 * P1. On its battery is a machine that has one which is being used up, and that nothing feeds. One without a battery is on mains.
 * P2. Batteries of mice, headsets and the like are none of the machine's.
 *
 * Written from the kernel's, Apple's and Microsoft's documentation, and tried on made-up answers: no machine with a battery was at hand.
 */
import { readdir, readFile } from "node:fs/promises";
import path from "node:path";
import type { Environment } from "./folders.ts";
import { runShort, type ShortRun } from "./short-program.ts";

export type Power = "mains" | "battery";
/** Rejects where it cannot be told. */
export type PowerReader = () => Promise<Power>;

/** Nobody waits for it; but a program that hangs must not be there when the next one is started. */
export const POWER_READ_MS = 3_000;
const ANSWER_BYTES_MAX = 64 * 1024;
const SUPPLIES = "/sys/class/power_supply";
/** A laptop with a dock and some mice has ten. */
const SUPPLIES_MAX = 64;

type Run = (argv: readonly [string, ...string[]]) => Promise<ShortRun>;

export interface PowerParts {
  readonly platform: NodeJS.Platform;
  readonly env: Environment;
  /** Linux: where the kernel shows what feeds the machine. */
  readonly folder?: string;
  /** macOS and Windows: runs the program that tells. */
  readonly run?: Run;
}

export function powerReader({ platform, env, folder = SUPPLIES, run = runner(env) }: PowerParts): PowerReader {
  switch (platform) {
    case "linux":
      return () => readLinux(folder);
    case "darwin":
      return () => readMac(run);
    case "win32":
      return windowsReader(run);
    default:
      return () => Promise.resolve("mains");
  }
}

const runner =
  (env: Environment): Run =>
  (argv) =>
    runShort(argv, { env, timeoutMs: POWER_READ_MS, bytesMax: ANSWER_BYTES_MAX });

/** One that feeds the machine, or is fed, in the kernel's words. */
interface Supply {
  readonly type: string | undefined;
  readonly scope: string | undefined;
  readonly present: string | undefined;
  readonly status: string | undefined;
  readonly online: string | undefined;
}

async function readLinux(folder: string): Promise<Power> {
  const names = await readdir(folder).catch((error: NodeJS.ErrnoException) => {
    // A container, or a kernel that knows of no supplies.
    if (error.code === "ENOENT") return [];
    throw error;
  });
  return judged(await Promise.all(names.slice(0, SUPPLIES_MAX).map((name) => readSupply(path.join(folder, name)))));
}

async function readSupply(folder: string): Promise<Supply> {
  const read = async (name: string): Promise<string | undefined> => {
    try {
      return (await readFile(path.join(folder, name), "utf8")).trim();
    } catch {
      // Each supply has some of them only, and one that is being pulled out none any more.
      return undefined;
    }
  };
  const [type, scope, present, status, online] = await Promise.all(["type", "scope", "present", "status", "online"].map(read));
  return { type, scope, present, status, online };
}

/**
 * P1, P2. Mains tells of the whole machine, whichever socket feeds it. A USB port may also be one by which the machine feeds others, and
 * some kernels call that online too: so ports count only where there is no Mains. Charging, full, and what a battery does not know are
 * no use of it, and a charger that is too weak for the moment still feeds.
 */
function judged(supplies: readonly Supply[]): Power {
  const own = supplies.filter(({ scope }) => scope !== "Device");
  const isUsed = own.some(({ type, present, status }) => type === "Battery" && present !== "0" && status === "Discharging");
  if (!isUsed) return "mains";
  const mains = own.filter(({ type }) => type === "Mains");
  const feeding = mains.length > 0 ? mains : own.filter(({ type }) => type !== "Battery");
  return feeding.some(({ online }) => Number(online) > 0) ? "mains" : "battery";
}

/** A UPS that says that it is one is not the machine's battery. */
async function readMac(run: Run): Promise<Power> {
  const text = await answerOf(run, ["/usr/bin/pmset", "-g", "batt"]);
  const [, source] = /^Now drawing from '([^']+)'/m.exec(text) ?? [];
  if (source === undefined) throw new Error("pmset does not say what this machine runs on");
  return source === "Battery Power" ? "battery" : "mains";
}

/** GetSystemPowerStatus. Win32_Battery's BatteryStatus tells less: low and critical are said of a battery that is charged, too. */
const WINDOWS_SCRIPT = [
  "Add-Type -AssemblyName System.Windows.Forms",
  "$power = [System.Windows.Forms.SystemInformation]::PowerStatus",
  "'{0};{1}' -f $power.PowerLineStatus, $power.BatteryChargeStatus",
].join("; ");

/** Each question starts a PowerShell: a machine that has no battery is asked once. */
function windowsReader(run: Run): PowerReader {
  let hasBattery = true;
  return async () => {
    if (!hasBattery) return "mains";
    const text = await answerOf(run, ["powershell.exe", "-NoLogo", "-NoProfile", "-NonInteractive", "-Command", WINDOWS_SCRIPT]);
    const [, line, battery] = /^(Online|Offline|Unknown);(.*)$/m.exec(text) ?? [];
    if (line === undefined) throw new Error("PowerShell does not say what this machine runs on");
    hasBattery = battery?.trim() !== "NoSystemBattery";
    return line === "Offline" && hasBattery ? "battery" : "mains";
  };
}

async function answerOf(run: Run, argv: readonly [string, ...string[]]): Promise<string> {
  const told = await run(argv);
  if (told.kind === "ended" && told.code === 0) return told.stdout;
  if (told.kind === "ended") throw new Error(`${argv[0]} ended with exit code ${told.code}`);
  throw new Error(told.kind === "absent" ? `there is no ${argv[0]}` : told.reason);
}
