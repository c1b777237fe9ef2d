/** The fast facts of a heartbeat: how busy this machine is now. Cheap: no process is started, one system call each. */
import { statfs } from "node:fs/promises";
import os from "node:os";
import type { NodeLoad } from "@openclaw-cluster/contract/node";

export type MachineLoad = Pick<NodeLoad, "cpu" | "memoryFreeMiB" | "diskFreeMiB">;

const MIB = 1024 * 1024;

/** A function that gives the load since its last call; `folder` names the disk. */
export function machineLoad(folder: string): () => Promise<MachineLoad> {
  let before = cpuTimes();
  return async () => {
    const now = cpuTimes();
    const totalMs = now.totalMs - before.totalMs;
    // Some systems count in steps of 10 ms, and a virtual machine's count can step back.
    const cpu = totalMs <= 0 ? 0 : Math.min(1, Math.max(0, (now.busyMs - before.busyMs) / totalMs));
    before = now;
    return { cpu, memoryFreeMiB: Math.floor(process.availableMemory() / MIB), diskFreeMiB: await diskFreeMiB(folder) };
  };
}

export async function diskFreeMiB(folder: string): Promise<number> {
  const { bavail, bsize } = await statfs(folder);
  return Math.floor((bavail * bsize) / MIB);
}

function cpuTimes(): { busyMs: number; totalMs: number } {
  let busyMs = 0;
  let idleMs = 0;
  for (const { times } of os.cpus()) {
    busyMs += times.user + times.nice + times.sys + times.irq;
    idleMs += times.idle;
  }
  return { busyMs, totalMs: busyMs + idleMs };
}
