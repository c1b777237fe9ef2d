/**
 * A node's own rule of what may run on it, as policy.yaml says it. The node asks it before each attempt; no coordinator
 * can widen it (DESIGN G7). Pure: the file is read by worker/policy-file.ts.
 *
 * N1. What is not allowed is denied, and deny wins over allow.
 * N2. A policy that cannot be read denies everything; one that does not exist is DEFAULT_POLICY.
 * N3. A reason names the rule's subject, never an argument: arguments can hold secrets.
 */
import type { NodeFacts } from "@openclaw-cluster/contract/node";
import { TaskKind, type TaskSpec } from "@openclaw-cluster/contract/task-spec";
import { z } from "zod";
import { CommandRule, isAbsolute, matches, programOf, ruleAllows, ruleDenies } from "./command-rule.ts";

const Patterns = z.array(z.string().min(1).max(256)).max(256).default([]);
const Rules = z.array(CommandRule).max(256).default([]);
const Folders = z.array(z.string().max(4_096).refine(isAbsolute, "a folder's path is absolute")).max(256).default([]);

export const Policy = z.strictObject({
  version: z.literal(1),
  allow: z
    .strictObject({
      echo: z.boolean().default(true),
      /** OpenClaw agents by name; `default` stands for a task that names none. */
      agents: Patterns,
      tools: Patterns,
      commands: Rules,
      /** Folders, with all below them, in which a command may run; its own fresh folder is always allowed. */
      cwds: Folders,
      /** Variables that a command's task may set. PATH or LD_PRELOAD here would undo every rule about commands. */
      env: Patterns,
    })
    .prefault({}),
  deny: z
    .strictObject({ kinds: z.array(TaskKind).default([]), agents: Patterns, tools: Patterns, commands: Rules, cwds: Folders })
    .prefault({}),
});
export type Policy = z.infer<typeof Policy>;

/** Where the policy comes from; it may change between two calls. */
export interface PolicySource {
  current(): Policy;
}

export const DEFAULT_POLICY: Policy = Policy.parse({ version: 1, allow: { agents: ["*"] } });
export const DENY_ALL: Policy = Policy.parse({ version: 1, allow: { echo: false } });

export type Decision = { readonly allow: true } | { readonly allow: false; readonly reason: string };

/** What only the node's file system knows of a command. */
export interface Found {
  /** The program's file, and the same with links followed. */
  readonly files: readonly string[];
  /** With links followed. */
  readonly cwd?: string;
}

const ALLOWED: Decision = { allow: true };
const denied = (reason: string): Decision => ({ allow: false, reason });

export function decide(policy: Policy, spec: TaskSpec, found?: Found): Decision {
  if (policy.deny.kinds.includes(spec.kind)) return denied(`kind ${spec.kind} is denied`);
  switch (spec.kind) {
    case "echo":
      return policy.allow.echo ? ALLOWED : denied("kind echo is not allowed");
    case "agent":
      return decideAgent(policy, spec.input.agent, spec.input.session);
    case "tool":
      return decideTool(policy, spec.input);
    case "command":
      return decideCommand(policy, spec.input, found);
  }
}

function decideAgent(policy: Policy, agent: string | undefined, session: string | undefined): Decision {
  const { allow, deny } = policy;
  const name = agent ?? "default";
  if (deny.agents.some((pattern) => matches(pattern, name))) return denied(`agent ${name} is denied`);
  // Which agent is the default one is not known here, so it could be a denied one.
  const open =
    agent === undefined && deny.agents.length > 0
      ? allow.agents.includes("default")
      : allow.agents.some((pattern) => matches(pattern, name));
  if (!open) return denied(`agent ${name} is not allowed`);
  // OpenClaw's own session keys begin with agent:<name>: and would lead to that agent, whatever the task says.
  if (session?.startsWith("agent:") && !session.startsWith(`agent:${name}:`)) return denied("the session belongs to another agent");
  return ALLOWED;
}

function decideTool(policy: Policy, input: Extract<TaskSpec, { kind: "tool" }>["input"]): Decision {
  if (policy.deny.tools.some((pattern) => matches(pattern, input.tool))) return denied(`tool ${input.tool} is denied`);
  if (!policy.allow.tools.some((pattern) => matches(pattern, input.tool))) return denied(`tool ${input.tool} is not allowed`);
  return input.agent === undefined && input.session === undefined ? ALLOWED : decideAgent(policy, input.agent, input.session);
}

function decideCommand(policy: Policy, input: Extract<TaskSpec, { kind: "command" }>["input"], found: Found | undefined): Decision {
  const { allow, deny } = policy;
  const name = input.argv[0] ?? "";
  const command = { argv: input.argv, stdin: input.stdin !== undefined, ...(found && { files: found.files }) };
  if (deny.commands.some((rule) => ruleDenies(rule, command))) return denied(`command ${name} is denied`);
  if (!allow.commands.some((rule) => ruleAllows(rule, command))) return denied(`command ${name} is not allowed with these arguments`);
  const variable = Object.keys(input.env ?? {}).find((one) => !allow.env.some((pattern) => matches(pattern, one)));
  if (variable !== undefined) return denied(`a task may not set the variable ${variable}`);
  const cwd = found?.cwd ?? input.cwd;
  if (cwd === undefined) return ALLOWED;
  if (deny.cwds.some((folder) => isWithin(folder, cwd))) return denied(`folder ${cwd} is denied`);
  return allow.cwds.some((folder) => isWithin(folder, cwd)) ? ALLOWED : denied(`folder ${cwd} is not allowed`);
}

function isWithin(folder: string, path: string): boolean {
  if (!isAbsolute(path) || path.split(/[/\\]/).includes("..")) return false;
  const base = folder.replace(/[/\\]+$/, "");
  return path === folder || path === base || path.startsWith(`${base}/`) || path.startsWith(`${base}\\`);
}

/** The policy in short, for placement only. `agents`: those of this node's OpenClaw, where it is known. A list that is absent means any. */
export function summary(policy: Policy, agents?: readonly string[]): NodeFacts["policy"] {
  const { allow, deny } = policy;
  const open: Record<TaskKind, boolean> = {
    echo: allow.echo,
    agent: allow.agents.length > 0,
    tool: allow.tools.length > 0,
    command: allow.commands.length > 0,
  };
  const kinds = TaskKind.options.filter((kind) => open[kind] && !deny.kinds.includes(kind));
  const everyAgent = allow.agents.includes("*") && deny.agents.length === 0;
  const programs = allow.commands.map(programOf);
  return {
    kinds,
    ...(!everyAgent && {
      agents:
        agents === undefined
          ? allow.agents
          : [undefined, ...agents].filter((name) => decideAgent(policy, name, undefined).allow).map((name) => name ?? "default"),
    }),
    ...(!programs.includes(undefined) && { commands: [...new Set(programs as string[])] }),
  };
}
