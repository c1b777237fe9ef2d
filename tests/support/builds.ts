/**
 * Other builds of this program beside the one under test: that of an earlier commit, and this one with other words.
 *
 * B1. A build is a copy of the tree with this one's packages; where its lock file is another one, with its own.
 */
import { execFile } from "node:child_process";
import { cp, mkdir, mkdtemp, readdir, readFile, rm, symlink, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import path from "node:path";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import type { Protocol } from "@openclaw-cluster/contract/protocol";

export interface Build {
  /** What runs as `openclaw-cluster`. */
  readonly command: string;
  remove(): Promise<void>;
}

const ROOT = fileURLToPath(new URL("../..", import.meta.url));
const COMMAND = path.join("cluster", "bin", "openclaw-cluster.mjs");
/** What a daemon runs of; tests and documents stay away. */
const PARTS = ["cluster", "contract", "package.json", "package-lock.json"];

const execute = promisify(execFile);
const git = async (...argv: readonly string[]): Promise<string> => (await execute("git", ["-C", ROOT, ...argv])).stdout.trim();

/** The commit before what is here: the last one, where something was changed since. undefined: this is no clone with a past. */
export async function previousCommit(): Promise<string | undefined> {
  try {
    const changed = await git("status", "--porcelain", "--untracked-files=no");
    return await git("rev-parse", "--verify", "--quiet", changed === "" ? "HEAD~1" : "HEAD");
  } catch {
    return undefined;
  }
}

export async function buildOf(commit: string): Promise<Build> {
  const folder = await fresh();
  const archive = path.join(folder, "tree.tar");
  await git("archive", "--output", archive, commit);
  await execute("tar", ["-xf", archive, "-C", folder]);
  const lockOf = (place: string): Promise<string> => readFile(path.join(place, "package-lock.json"), "utf8");
  if ((await lockOf(folder)) === (await lockOf(ROOT))) await linkPackages(folder);
  else await execute("npm", ["ci", "--no-audit", "--no-fund"], { cwd: folder });
  return built(folder);
}

/** This build, which speaks other versions of the protocol. */
export async function buildSpeaking({ oldest, newest }: Protocol): Promise<Build> {
  const folder = await fresh();
  for (const part of PARTS) await cp(path.join(ROOT, part), path.join(folder, part), { recursive: true });
  await linkPackages(folder);
  const file = path.join(folder, "contract", "src", "protocol.ts");
  const text = await readFile(file, "utf8");
  const changed = text.replace(
    /^export const PROTOCOL: Protocol = .*$/m,
    `export const PROTOCOL: Protocol = { oldest: ${oldest}, newest: ${newest} };`,
  );
  if (changed === text) throw new Error(`${file} says nothing of what this build speaks`);
  await writeFile(file, changed);
  return built(folder);
}

const fresh = (): Promise<string> => mkdtemp(path.join(tmpdir(), "ocx-build-"));

const built = (folder: string): Build => ({
  command: path.join(folder, COMMAND),
  remove: () => rm(folder, { recursive: true, force: true, maxRetries: 3 }),
});

/** B1. The workspace's own packages are the copy's. */
async function linkPackages(folder: string): Promise<void> {
  const from = path.join(ROOT, "node_modules");
  const to = path.join(folder, "node_modules");
  await mkdir(path.join(to, "@openclaw-cluster"), { recursive: true });
  await symlink(path.join("..", "..", "contract"), path.join(to, "@openclaw-cluster", "contract"));
  for (const name of await readdir(from)) if (name !== "@openclaw-cluster") await symlink(path.join(from, name), path.join(to, name));
}
