/** This machine's policy.yaml for whoever edits it: read by the worker's own reader, and asked as the worker asks. */
import { realpath } from "node:fs/promises";
import type { Submitter } from "@openclaw-cluster/contract/submitter";
import type { TaskSpec } from "@openclaw-cluster/contract/task-spec";
import { z } from "zod";
import { admit, DEFAULT_POLICY, Policy, type Decision, type Found } from "../core/policy.ts";
import { findProgram } from "../executors/program.ts";
import { localTimeZone } from "../system/clock.ts";
import { loadConfig } from "../system/config.ts";
import { clusterHome, foldersOf, type Environment } from "../system/folders.ts";
import { policyFaultText, readPolicy, type PolicyFault } from "../worker/policy-reading.ts";

export type OwnPolicy = { readonly file: string } & (
  | { readonly kind: "file" | "default"; readonly policy: Policy }
  | { readonly kind: "broken"; readonly faults: readonly (PolicyFault & { readonly text: string })[] }
);

/** `file`: unless said, the one that this machine's daemon reads. */
export function ownPolicy(home: string, file = foldersOf(home).policy): OwnPolicy {
  const reading = readPolicy(file);
  switch (reading.kind) {
    case "absent":
      return { file, kind: "default", policy: DEFAULT_POLICY };
    case "read":
      return { file, kind: "file", policy: reading.policy };
    case "broken":
      return { file, kind: "broken", faults: reading.faults.map((fault) => ({ ...fault, text: policyFaultText(file, fault) })) };
  }
}

export function policyJsonSchema(): unknown {
  return z.toJSONSchema(Policy, { io: "input" });
}

interface Trial {
  readonly spec: TaskSpec;
  readonly submitter?: Submitter | undefined;
  /** ms since 1970. */
  readonly now: number;
}

interface Machine {
  readonly home: string;
  /** PATH in it may be another than the daemon's. */
  readonly env: Environment;
}

/** `missing`: the program of the task was not found, so that only its name could be judged. */
export type Tried = Decision & { readonly missing?: string };

/** As the worker decides on an offer, and then the executor on the file and the folder that it found. */
export async function tryPolicy(policy: Policy, { spec, submitter, now }: Trial, machine: Machine): Promise<Tried> {
  const here = { node: await nodeOf(policy, spec, machine), now, timeZone: localTimeZone() };
  const first = admit(policy, { spec, submitter }, here);
  if (!first.allow || spec.kind !== "command") return first;
  const found = await findCommand(spec.input, machine.env);
  return found === undefined ? { ...first, missing: spec.input.argv[0] ?? "" } : admit(policy, { spec, submitter, found }, here);
}

/** The node's id matters to pinned tasks alone: a faulty cluster.yaml need not trouble anybody else. */
async function nodeOf({ hours }: Policy, { require }: TaskSpec, { home, env }: Machine): Promise<string> {
  if (hours?.pinned !== true || require?.nodes === undefined) return "";
  return (await loadConfig({ home: clusterHome({ home, env }), env })).nodeId;
}

async function findCommand(input: Extract<TaskSpec, { kind: "command" }>["input"], env: Environment): Promise<Found | undefined> {
  const own = input.env?.["PATH"];
  const program = await findProgram(input.argv[0] ?? "", typeof own === "string" ? own : (env["PATH"] ?? ""));
  if (program === undefined) return undefined;
  const files = [program.file, program.real];
  return input.cwd === undefined ? { files } : { files, cwd: await realFolder(input.cwd) };
}

/** One that is not there is judged by its name. */
async function realFolder(cwd: string): Promise<string> {
  try {
    return await realpath(cwd);
  } catch {
    // The executor will say that it is not there.
    return cwd;
  }
}
