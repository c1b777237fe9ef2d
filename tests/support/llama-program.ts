/**
 * Finds the real llama-server for tests: the one that OPENCLAW_CLUSTER_LLAMA_SERVER_BIN names, the machine's own on PATH,
 * or that of the distribution's newer suite, unpacked into the project's cache.
 *
 * L1. A program that the variable names, or that is on PATH, is used or refused with an error, never passed over.
 * L2. The tree in the cache is whole and ran once: it is put together elsewhere, tried, and renamed into place.
 * L3. Of several test files one fetches, and the others wait for it. Their lock is SQLite's, which goes with its process.
 */
import { existsSync } from "node:fs";
import { mkdir, rename } from "node:fs/promises";
import { delimiter, isAbsolute, join } from "node:path";
import { DatabaseSync } from "node:sqlite";
import { setTimeout as delay } from "node:timers/promises";
import { isExecutable, withIncoming } from "../../cluster/src/system/binary-cache.ts";
import { isDebian } from "../../cluster/src/system/binary-debian.ts";
import { cacheFolder } from "../../cluster/src/system/folders.ts";
import { programEnvironment } from "../../cluster/src/system/program-environment.ts";
import { programIn, runProgram, unpackLlama, type LlamaProgram } from "./llama-package.ts";

type FoundLlama = { readonly kind: "there"; readonly program: LlamaProgram } | { readonly kind: "missing"; readonly reason: string };

const VARIABLE = "OPENCLAW_CLUSTER_LLAMA_SERVER_BIN";
const TREE = "llama-server";
const VERSION_MS_MAX = 10_000;
const SQLITE_BUSY = 5;
const LOCK_POLL_MS = 200;
/** Longer than a slow download takes. */
const LOCK_MS_MAX = 600_000;

let found: Promise<FoundLlama> | undefined;

/** Looked for once in each process. */
export function findLlama(): Promise<FoundLlama> {
  return (found ??= find());
}

/** Why there can be no llama-server here; undefined where there can, and then it lies ready. The first call may fetch it. */
export async function whyNoLlama(): Promise<string | undefined> {
  const llama = await findLlama();
  return llama.kind === "missing" ? llama.reason : undefined;
}

async function find(): Promise<FoundLlama> {
  const own = await ownProgram();
  if (own !== undefined) {
    const program: LlamaProgram = { command: [own], env: {} };
    await tryOut(program);
    return { kind: "there", program };
  }
  if (!(await isDebian())) return { kind: "missing", reason: `no llama-server on PATH or in ${VARIABLE}, and no packages of Debian here` };
  const cache = cacheFolder(process.env);
  const tree = join(cache, TREE);
  try {
    if (!existsSync(tree)) await withLock(cache, () => (existsSync(tree) ? Promise.resolve() : fetchTree(cache, tree)));
    return { kind: "there", program: await programIn(tree) };
  } catch (error) {
    return { kind: "missing", reason: `no llama-server on PATH, and its package cannot be had: ${shortly(error)}` };
  }
}

async function ownProgram(): Promise<string | undefined> {
  const named = process.env[VARIABLE];
  if (named !== undefined && named !== "") {
    if (!isAbsolute(named)) throw new Error(`${VARIABLE} must be an absolute path, and is ${named}`);
    return named;
  }
  for (const folder of (process.env["PATH"] ?? "").split(delimiter)) {
    const path = join(folder, "llama-server");
    if (isAbsolute(folder) && (await isExecutable(path))) return path;
  }
  return undefined;
}

/** Throws where it does not run here. */
async function tryOut(program: LlamaProgram): Promise<void> {
  const [file, ...before] = program.command;
  await runProgram([file, ...before, "--version"], { timeoutMs: VERSION_MS_MAX, env: llamaEnvironment(program) });
}

async function fetchTree(cache: string, tree: string): Promise<void> {
  await withIncoming(cache, async (incoming) => {
    const unpacked = await unpackLlama(incoming);
    await tryOut(await programIn(unpacked));
    await rename(unpacked, tree);
  });
}

async function withLock(folder: string, work: () => Promise<void>): Promise<void> {
  await mkdir(folder, { recursive: true });
  const lock = new DatabaseSync(join(folder, `${TREE}.lock`), { timeout: 0 });
  const giveUpAt = performance.now() + LOCK_MS_MAX;
  try {
    while (!takes(lock)) {
      if (performance.now() > giveUpAt) throw new Error(`another process has been fetching it for ${LOCK_MS_MAX / 1_000} s`);
      await delay(LOCK_POLL_MS);
    }
    await work();
  } finally {
    lock.close();
  }
}

/** True: it is ours now. */
function takes(lock: DatabaseSync): boolean {
  try {
    lock.exec("BEGIN EXCLUSIVE");
    return true;
  } catch (error) {
    if ((error as { errcode?: number }).errcode !== SQLITE_BUSY) throw error;
    return false;
  }
}

/** One line; of a program its last, where it says what was wrong. */
function shortly(error: unknown): string {
  const { message, stderr } = error as { message: string; stderr?: string };
  const said = stderr?.trim().split("\n").at(-1);
  return said === undefined || said === "" ? (message.split("\n", 1)[0] ?? "") : said;
}

/** For its process: nothing of ours but what a program needs. */
export const llamaEnvironment = ({ env }: LlamaProgram): Record<string, string> => ({ ...programEnvironment(process.env), ...env });
