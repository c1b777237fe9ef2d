/**
 * Everything that is checked without running the product: each check is a tool of node_modules with its arguments.
 * A check's output is shown only when it fails.
 */
import { spawn } from "node:child_process";
import { join } from "node:path";

export const ROOT = join(import.meta.dirname, "..");

export interface Check {
  readonly name: string;
  /** The tool's JavaScript file under node_modules; run by this very Node, so that no shell or PATH decides. */
  readonly tool: string;
  readonly args: readonly string[];
}

export const TYPES: Check = { name: "types", tool: "typescript/bin/tsc", args: ["--noEmit"] };
export const LINT: Check = { name: "lint", tool: "oxlint/bin/oxlint", args: [] };
export const FORMAT: Check = { name: "format", tool: "oxfmt/bin/oxfmt", args: ["--check"] };
export const UNUSED: Check = { name: "unused files, exports and packages", tool: "knip/bin/knip.js", args: ["--no-progress"] };

/** The slowest takes a few seconds; a check that takes this long hangs. */
const CHECK_LIMIT_MS = 180_000;

/** Prints one line, and on failure what the tool said. True: nothing was found. */
export async function passes({ name, tool, args }: Check): Promise<boolean> {
  const startedAt = performance.now();
  const child = spawn(process.execPath, [join(ROOT, "node_modules", tool), ...args], {
    cwd: ROOT,
    stdio: ["ignore", "pipe", "pipe"],
    timeout: CHECK_LIMIT_MS,
    killSignal: "SIGKILL",
  });
  let output = "";
  for (const stream of [child.stdout, child.stderr]) stream.setEncoding("utf8").on("data", (text: string) => (output += text));
  const ended = Promise.withResolvers<{ code: number | null; signal: string | null }>();
  child.once("error", ended.reject);
  child.once("close", (code, signal) => ended.resolve({ code, signal }));
  const { code, signal } = await ended.promise;
  const seconds = ((performance.now() - startedAt) / 1_000).toFixed(1);
  const ok = code === 0;
  console.log(`${ok ? "✓" : "✗"} ${name} (${seconds} s)`);
  if (!ok) console.log(`${output.trimEnd()}\n${tool} ended with ${signal ?? `exit code ${code}`}`);
  return ok;
}
