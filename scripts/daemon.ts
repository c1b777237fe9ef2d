/** The public command, as the demonstration, the benchmark and the tests run it; above all daemons with settings of their own. */
import { mkdir, readFile, writeFile } from "node:fs/promises";
import path from "node:path";
import { fileURLToPath } from "node:url";
import { run, type Running } from "./child.ts";

const COMMAND = fileURLToPath(new URL("../cluster/bin/openclaw-cluster.mjs", import.meta.url));

export interface StartedDaemon {
  readonly process: Running;
  /** Of one that leads. */
  readonly apiUrl: string | undefined;
}

/** Of the nats-server that the leading daemon of this home runs. */
export async function natsPortOf(home: string): Promise<number> {
  const text = await readFile(path.join(home, "data", "nats", "nats.conf"), "utf8");
  return Number(/^listen: ".*:(\d+)"$/m.exec(text)?.[1]);
}

export interface Manner {
  readonly env?: Readonly<Record<string, string>>;
  /** A program with its arguments that runs the command, as `strace -D …`, or `ip netns exec …`. */
  readonly under?: readonly string[];
  /** Of another checkout. */
  readonly command?: string;
}

/** `openclaw-cluster …` */
export function runCommand(argv: readonly string[], { env = {}, under = [], command = COMMAND }: Manner = {}): Running {
  const [program = "", ...all] = [...under, process.execPath, command, ...argv];
  return run(program, all, env);
}

/** Resolves when it is up; rejects with what it said when it is not. Without settings those of an earlier start or a `join` hold. */
export async function startDaemon(home: string, settings?: object, manner?: Manner): Promise<StartedDaemon> {
  await mkdir(home, { recursive: true, mode: 0o700 });
  // JSON is YAML.
  if (settings !== undefined) await writeFile(path.join(home, "cluster.yaml"), JSON.stringify(settings, null, 2), { mode: 0o600 });
  const daemon = runCommand(["start", "--home", home, "--json"], manner);
  const said = JSON.parse(await daemon.says(/^(\{[^]*?^\})$/m)) as {
    ok?: boolean;
    apiUrl?: string;
    error?: { detail: string; hint: string };
  };
  if (said.error !== undefined) throw new Error(`The daemon in ${home} did not start: ${said.error.detail} ${said.error.hint}`);
  return { process: daemon, apiUrl: said.apiUrl };
}
