/** What a process costs, read from /proc: Linux only, NaN elsewhere. */
import { readFile, readdir } from "node:fs/promises";

/** USER_HZ, which the kernel promises to be 100 to programs. */
const TICKS_PER_SECOND = 100;

/** Processor time of a process so far, its own threads only, in ms. */
export async function cpuMs(pid: number): Promise<number> {
  const fields = (await text(`/proc/${pid}/stat`))?.replace(/^.*\) /, "").split(" ");
  return fields === undefined ? Number.NaN : ((Number(fields[11]) + Number(fields[12])) * 1_000) / TICKS_PER_SECOND;
}

/** Resident memory in MiB. */
export async function rssMiB(pid: number): Promise<number> {
  const line = (await text(`/proc/${pid}/status`))?.match(/^VmRSS:\s+(\d+) kB$/m);
  return line?.[1] === undefined ? Number.NaN : Number(line[1]) / 1_024;
}

/** Open descriptors: files, sockets, pipes. */
export async function fdsOf(pid: number): Promise<number> {
  return readdir(`/proc/${pid}/fd`).then(
    (names) => names.length,
    () => Number.NaN,
  );
}

export async function threadsOf(pid: number): Promise<number> {
  return Number((await text(`/proc/${pid}/status`))?.match(/^Threads:\s+(\d+)$/m)?.[1] ?? Number.NaN);
}

/** Direct children of a process. */
export async function childrenOf(pid: number): Promise<number[]> {
  const threads = await readdir(`/proc/${pid}/task`).catch(() => []);
  const lists = await Promise.all(threads.map((thread) => text(`/proc/${pid}/task/${thread}/children`)));
  return lists.flatMap((list) => (list ?? "").split(" ").filter(Boolean).map(Number));
}

/** The process itself, then whatever it and its descendants have started. */
export async function treeOf(pid: number): Promise<number[]> {
  const below = await Promise.all((await childrenOf(pid)).map(treeOf));
  return [pid, ...below.flat()];
}

async function text(path: string): Promise<string | undefined> {
  return readFile(path, "utf8").catch(() => undefined);
}
