/** Doctor's check of the sandbox that this machine's policy may ask for around commands. */
import { mkdtemp, rm } from "node:fs/promises";
import { homedir, tmpdir } from "node:os";
import path from "node:path";
import { boxOf, sandboxedPrograms } from "../core/allow-rule.ts";
import { DEFAULT_POLICY } from "../core/policy.ts";
import { findSandbox } from "../executors/sandbox.ts";
import type { Environment, Folders } from "../system/folders.ts";
import { readPolicy } from "../worker/policy-reading.ts";
import { fail, ok, warn, type Check } from "./check.ts";

/** Tries it, as the worker does. */
export async function checkCommands(folders: Folders, env: Environment): Promise<Check> {
  const name = "sandbox";
  const reading = readPolicy(folders.policy);
  // A broken one denies everything, and has a check of its own.
  const { allow, sandbox: mode } = reading.kind === "read" ? reading.policy : DEFAULT_POLICY;
  const found = await tried(folders, env);
  if (found.kind === "there") return ok(name, `${found.file}${allow.commands.length === 0 ? "; no command may run here" : ""}`);
  const required = sandboxedPrograms(allow.commands, mode);
  const advice = "Install bubblewrap with your system's packages, or change sandbox in policy.yaml.";
  if (required.length > 0)
    return fail(
      name,
      `none (${found.reason}); without it the policy does not run ${required.includes("**") ? "any command" : required.join(", ")}`,
      advice,
    );
  if (allow.commands.some((rule) => boxOf(rule, mode).mode !== "none"))
    return warn(name, `none (${found.reason}); commands run without`, advice);
  return ok(name, `none (${found.reason}), and the policy asks for none`);
}

async function tried({ home }: Folders, env: Environment): ReturnType<typeof findSandbox> {
  const folder = await mkdtemp(path.join(tmpdir(), "openclaw-cluster-sandbox-"));
  try {
    return await findSandbox(env, { userHome: homedir(), clusterHome: home }, folder);
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}
