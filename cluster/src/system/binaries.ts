/**
 * Finds the servers that the project runs but does not ship, in a fixed order:
 * the variable → PATH → our cache → the official release → the distribution's newer package → a message that says what to do.
 *
 * B1. A path that a person named in the variable is used or refused, never passed over.
 * B2. Whatever comes from the network is verified before it runs (binary-release.ts, binary-debian.ts) and then served
 *     from the cache, so that a second start needs no network.
 */
import { delimiter, isAbsolute, join } from "node:path";
import { ClusterError } from "@openclaw-cluster/contract/errors";
import { ExecaError } from "execa";
import { askVersion, findInCache, isExecutable, type FoundBinary } from "./binary-cache.ts";
import { fetchDebianPackage, isDebian } from "./binary-debian.ts";
import { PROGRAMS, type BinaryName, type Program } from "./binary-programs.ts";
import { fetchRelease } from "./binary-release.ts";
import type { Log } from "./log.ts";
import { isAtLeast } from "./version.ts";

export interface ResolveOptions {
  /** `cacheFolder()` of folders.ts; programs lie in its `bin`. */
  readonly cacheFolder: string;
  readonly log: Log;
  /** One line about a step that takes longer than a moment. */
  onProgress?(text: string): void;
  /** Ask no network. */
  readonly offline?: boolean;
  readonly env?: NodeJS.ProcessEnv;
}

export interface Binary extends FoundBinary {
  readonly source: "env" | "path" | "cache" | "release" | "debian";
}

export async function resolveBinary(name: BinaryName, asked: ResolveOptions): Promise<Binary> {
  const options = { ...asked, cacheFolder: join(asked.cacheFolder, "bin") };
  const program = PROGRAMS[name];
  const env = options.env ?? process.env;
  /** Why each source did not serve, for the message at the end. */
  const misses: string[] = [];
  const binary =
    (await named(program, env)) ??
    (await onPath(program, env, misses)) ??
    (await cached(program, options)) ??
    (options.offline === true ? undefined : await fetched(program, options, misses));
  if (binary === undefined) throw missing(program, options.offline === true ? [...misses, "not fetched, because offline"] : misses);
  if (!isAtLeast(binary.version, program.safeFrom)) {
    options.log.warn(
      { path: binary.path, version: binary.version },
      `this ${name} has known faults; ${program.safeFrom} or newer is better`,
    );
  }
  return binary;
}

async function named(program: Program, env: NodeJS.ProcessEnv): Promise<Binary | undefined> {
  const path = env[program.variable];
  if (path === undefined || path === "") return undefined;
  try {
    if (!isAbsolute(path)) throw new Error("the path is not absolute");
    const version = await askVersion(program, path);
    if (!isAtLeast(version, program.floor)) throw new Error(`it is version ${version}, and ${program.floor} or newer is needed`);
    return { path, version, source: "env" };
  } catch (cause) {
    throw new ClusterError("binary_missing", `${program.variable} names ${path}, which does not serve: ${shortly(cause)}`, { cause });
  }
}

async function onPath(program: Program, env: NodeJS.ProcessEnv, misses: string[]): Promise<Binary | undefined> {
  const file = process.platform === "win32" ? `${program.name}.exe` : program.name;
  for (const folder of (env["PATH"] ?? env["Path"] ?? "").split(delimiter)) {
    const path = join(folder, file);
    // A relative folder on PATH would make the choice depend on where the daemon was started.
    if (!isAbsolute(folder) || !(await isExecutable(path))) continue;
    try {
      const version = await askVersion(program, path);
      if (isAtLeast(version, program.floor)) return { path, version, source: "path" };
      misses.push(`${path} is ${version}, too old`);
    } catch (error) {
      misses.push(`${path}: ${shortly(error)}`);
    }
  }
  return undefined;
}

async function cached(program: Program, options: ResolveOptions): Promise<Binary | undefined> {
  const found = await findInCache(program, options.cacheFolder);
  return found && { ...found, source: "cache" };
}

async function fetched(program: Program, options: ResolveOptions, misses: string[]): Promise<Binary | undefined> {
  try {
    return { ...(await fetchRelease(program, options)), source: "release" };
  } catch (error) {
    misses.push(`official release: ${shortly(error)}`);
    options.log.debug({ err: error }, `no official release of ${program.name}`);
  }
  if (!(await isDebian())) return undefined;
  try {
    return { ...(await fetchDebianPackage(program, options)), source: "debian" };
  } catch (error) {
    misses.push(`distribution's package: ${shortly(error)}`);
    options.log.debug({ err: error }, `no package of ${program.name}`);
  }
  return undefined;
}

function missing(program: Program, misses: readonly string[]): ClusterError {
  const platform = process.platform === "darwin" || process.platform === "win32" ? process.platform : "linux";
  const why = misses.length === 0 ? "" : ` (${misses.join("; ")})`;
  return new ClusterError(
    "binary_missing",
    `${program.name} ${program.floor} or newer was not found${why}. Install it: ${program.install[platform]}. Or name it: ${program.variable}=/path/to/${program.name}.`,
  );
}

/** One line of what went wrong, with what lies behind it: a program's last words, or the cause that fetch gives. */
function shortly(error: unknown): string {
  if (!(error instanceof Error)) return String(error);
  const behind =
    error instanceof ExecaError ? String(error.stderr).trim().split("\n").at(-1) : error.cause instanceof Error ? error.cause.message : "";
  const own = (error instanceof ExecaError ? error.shortMessage : error.message).split("\n", 1)[0] ?? "";
  return behind === undefined || behind === "" || own.includes(behind) ? own : `${own}: ${behind}`;
}
