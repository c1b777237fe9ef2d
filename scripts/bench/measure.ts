/** One measurement: a fresh submitter process in one mode, with what the servers spent meanwhile. */
import { fileURLToPath } from "node:url";
import type { ClusterUnderTest } from "./cluster-under-test.ts";
import { run } from "../child.ts";
import type { Figures } from "./submitter.ts";
import { cpuMs } from "./usage.ts";

const SUBMITTER = fileURLToPath(new URL("./submitter.ts", import.meta.url));

export type Mode = "single" | "arrays" | "submit-single" | "submit-arrays" | "latency";

export interface Measured extends Figures {
  mode: Mode;
  /** ms of processor time per task: servers and workers, and the submitter. */
  cpuPerTaskMs: { servers: number; submitter: number };
}

export interface Target {
  readonly argv: readonly string[];
  readonly pids: readonly number[];
}

export function clusterTarget({ url, tokenFile, pids }: ClusterUnderTest): Target {
  return {
    argv: ["--subject", "cluster", "--url", url, "--token-file", tokenFile],
    pids: [pids.coordinator, pids.nats, ...pids.workers, ...pids.etcd],
  };
}

export async function measure(target: Target, mode: Mode, tasks: number): Promise<Measured> {
  const spent = async (): Promise<number> => (await Promise.all(target.pids.map(cpuMs))).reduce((sum, ms) => sum + ms, 0);
  const before = await spent();
  const submitter = run(process.execPath, [SUBMITTER, ...target.argv, "--mode", mode, "--tasks", String(tasks)]);
  const figures = JSON.parse(await submitter.output()) as Figures;
  return { ...figures, mode, cpuPerTaskMs: { servers: ((await spent()) - before) / tasks, submitter: figures.cpuMs / tasks } };
}
