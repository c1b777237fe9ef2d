/**
 * The cache of programs: one file for each program and version, `nats-server-2.15.1`, shared by every daemon, test and
 * demonstration of one user.
 *
 * C1. A file that bears such a name is whole and ran once: it is put together elsewhere, tried, and renamed into place.
 * C2. Any number of processes may fill the cache at once: each works in a folder of its own, and the last rename wins
 *     over an equal file.
 */
import { access, chmod, constants, mkdir, mkdtemp, readdir, rename, rm, stat } from "node:fs/promises";
import { join } from "node:path";
import { execa } from "execa";
import type { Program } from "./binary-programs.ts";
import { compareVersions, findVersion, isAtLeast } from "./version.ts";

const VERSION_MS_MAX = 10_000;
/** What a killed process left of its unfinished download is removed after this. */
const INCOMING_MS_MAX = 3_600_000;
const INCOMING = ".incoming-";

export interface FoundBinary {
  readonly path: string;
  readonly version: string;
}

/** The newest cached version that serves. Only names are read, so this takes well under a millisecond. */
export async function findInCache(program: Program, folder: string): Promise<FoundBinary | undefined> {
  const names = await readdir(folder).catch((error: NodeJS.ErrnoException) => {
    if (error.code === "ENOENT") return [];
    throw error;
  });
  const found = names
    .filter((name) => name.startsWith(`${program.name}-`))
    .map((name) => ({ path: join(folder, name), version: findVersion(name) ?? "" }))
    .filter(({ path, version }) => version !== "" && path === cachePath(program, version, folder) && isAtLeast(version, program.floor))
    .sort((a, b) => compareVersions(b.version, a.version));
  for (const candidate of found) {
    if (await isExecutable(candidate.path)) return candidate;
  }
  return undefined;
}

/** An empty folder on the cache's own file system, for one process's work; removed when `work` has ended. */
export async function withIncoming<T>(folder: string, work: (incoming: string) => Promise<T>): Promise<T> {
  await mkdir(folder, { recursive: true });
  await removeAbandoned(folder);
  const incoming = await mkdtemp(join(folder, INCOMING));
  try {
    return await work(incoming);
  } finally {
    await rm(incoming, { recursive: true, force: true });
  }
}

/** Tries the file, and moves it into the cache under its own version. */
export async function admit(program: Program, file: string, folder: string): Promise<FoundBinary> {
  await chmod(file, 0o755);
  const version = await askVersion(program, file);
  if (!isAtLeast(version, program.floor)) throw new Error(`${program.name} ${version} is older than ${program.floor}`);
  const path = cachePath(program, version, folder);
  try {
    await rename(file, path);
  } catch (error) {
    // Windows does not replace a program that runs; the one in place is equal.
    if (!(await isExecutable(path))) throw error;
  }
  return { path, version };
}

/** Throws where the file cannot be run on this machine or does not say what it is. */
export async function askVersion(program: Program, file: string): Promise<string> {
  const { stdout, stderr } = await execa(file, [program.versionFlag], { timeout: VERSION_MS_MAX, stdin: "ignore" });
  const version = findVersion(stdout) ?? findVersion(stderr);
  if (version === undefined) throw new Error(`${file} ${program.versionFlag} names no version`);
  return version;
}

export async function isExecutable(path: string): Promise<boolean> {
  try {
    await access(path, constants.X_OK);
    return (await stat(path)).isFile();
  } catch {
    // Absent, not ours to read, not a program: all the same to the caller, who looks further.
    return false;
  }
}

function cachePath(program: Program, version: string, folder: string): string {
  return join(folder, `${program.name}-${version}${process.platform === "win32" ? ".exe" : ""}`);
}

async function removeAbandoned(folder: string): Promise<void> {
  for (const name of await readdir(folder)) {
    if (!name.startsWith(INCOMING)) continue;
    const path = join(folder, name);
    const age = Date.now() - ((await stat(path).catch(() => undefined))?.mtimeMs ?? Date.now());
    if (age > INCOMING_MS_MAX) await rm(path, { recursive: true, force: true });
  }
}
