/**
 * The real bubblewrap for tests: the machine's own, or else the one of its distribution's package, unpacked into the
 * project's cache; nothing of the system changes.
 */
import { existsSync, mkdirSync, mkdtempSync, readdirSync, renameSync, rmSync } from "node:fs";
import { homedir, tmpdir } from "node:os";
import path from "node:path";
import { findSandbox } from "../../cluster/src/executors/sandbox.ts";
import { cacheFolder } from "../../cluster/src/system/folders.ts";
import { runShort } from "../../cluster/src/system/short-program.ts";

export type Bubblewrap = { readonly path: string } | { readonly missing: string };

const FETCH_MS = 60_000;

/** `path`: a PATH on which bwrap is found and works. */
export async function findBubblewrap(): Promise<Bubblewrap> {
  if (process.platform !== "linux") return { missing: "bubblewrap is Linux's" };
  const own = process.env["PATH"] ?? "";
  const fetched = path.join(cacheFolder(process.env), "bubblewrap");
  const search = [own, path.join(fetched, "usr", "bin")].join(path.delimiter);
  const trial = mkdtempSync(path.join(tmpdir(), "ocx-bubblewrap-"));
  try {
    const works = () =>
      findSandbox({ ...process.env, PATH: search }, { userHome: homedir(), clusterHome: path.join(trial, "home") }, trial);
    let found = await works();
    if (found.kind === "missing" && !existsSync(fetched)) {
      await fetch(fetched);
      found = await works();
    }
    return found.kind === "there" ? { path: search } : { missing: found.reason };
  } finally {
    rmSync(trial, { recursive: true, force: true });
  }
}

/** Where there is no apt, there is no package. */
async function fetch(to: string): Promise<void> {
  mkdirSync(path.dirname(to), { recursive: true });
  const folder = mkdtempSync(`${to}-`);
  try {
    // Its own shell line: apt-get downloads into the folder in which it is.
    const script = 'cd "$1" && apt-get download bubblewrap && dpkg -x bubblewrap_*.deb unpacked';
    await runShort(["/bin/sh", "-c", script, "sh", folder], { env: process.env, timeoutMs: FETCH_MS });
    if (readdirSync(folder).includes("unpacked")) renameSync(path.join(folder, "unpacked"), to);
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}
