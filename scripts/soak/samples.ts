/** What the processes of a cluster hold, and how large their files are; from /proc, so Linux only. */
import { readdir, stat } from "node:fs/promises";
import path from "node:path";
import { fdsOf, rssMiB, threadsOf } from "../bench/usage.ts";

export interface PartSample {
  readonly part: string;
  /** Another pid is another life. */
  readonly pid: number;
  readonly rssMiB: number;
  readonly fds: number;
  readonly threads: number;
}

export interface Sample {
  /** Since the soak's beginning. */
  readonly atMs: number;
  /** Nothing ran, and connections that nobody needs were closed. */
  readonly atRest: boolean;
  readonly parts: readonly PartSample[];
  readonly sizes: Sizes;
}

export interface Sizes {
  readonly databaseMiB: number;
  readonly walMiB: number;
  /** Output and large results, kept by nats-server. */
  readonly streamsMiB: number;
}

export async function samplePart(part: string, pid: number): Promise<PartSample | undefined> {
  const [mib, fds, threads] = await Promise.all([rssMiB(pid), fdsOf(pid), threadsOf(pid)]);
  // It is down, or goes down at this very moment.
  return Number.isNaN(mib + fds + threads) ? undefined : { part, pid, rssMiB: mib, fds, threads };
}

/** Of a coordinator's home. */
export async function sampleSizes(home: string): Promise<Sizes> {
  const data = path.join(home, "data");
  const streams = path.join(data, "nats", "streams");
  const files = (await readdir(streams, { recursive: true }).catch(() => [])).map((name) => path.join(streams, name));
  const database = path.join(data, "cluster.db");
  const [databaseMiB, walMiB, ...rest] = await Promise.all([database, `${database}-wal`, ...files].map(sizeMiB));
  return { databaseMiB: databaseMiB ?? 0, walMiB: walMiB ?? 0, streamsMiB: rest.reduce((sum, size) => sum + size, 0) };
}

/** 0 for a folder, and for a file that has just gone. */
async function sizeMiB(file: string): Promise<number> {
  const found = await stat(file).catch(() => undefined);
  return found?.isFile() === true ? found.size / 2 ** 20 : 0;
}
