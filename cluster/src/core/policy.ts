/**
 * A node's own rule of what may run on it, for whom and when, as policy.yaml says it. The node asks it before each
 * attempt; no coordinator can widen it (DESIGN G7). Pure: the file is read by worker/policy-file.ts.
 *
 * N1. What is not allowed is denied, and deny wins over allow.
 * N2. A policy that cannot be read denies everything; one that does not exist is DEFAULT_POLICY.
 * N3. A reason names the rule's subject, never an argument: arguments can hold secrets. Rules are for the node's owner.
 * N4. For whom is as true as the coordinator that says it; what may run, and when, is the node's alone to judge. Whose a
 *     session is, is of the first kind: what is nobody's does not run.
 */
import { SandboxMode } from "@openclaw-cluster/contract/command-limits";
import type { Submitter } from "@openclaw-cluster/contract/submitter";
import { TaskKind, type TaskSpec } from "@openclaw-cluster/contract/task-spec";
import { z } from "zod";
import { AllowRule, boxOf, Folders, wordsOf, type Box } from "./allow-rule.ts";
import { Limits } from "./bounds.ts";
import { CommandRule, isAbsolute, matches, ruleAllows, ruleDenies } from "./command-rule.ts";
import type { Command } from "./given-code.ts";
import { Hours, hoursText, isQuiet, quietness, untilText, type Moment } from "./quiet-hours.ts";
import { isAutoName } from "./models/auto-groups.ts";
import { modelNameOf } from "./models/task-model.ts";
import { isNobodys, readSession, sessionRule } from "./session-rule.ts";
import { judgeUser, Users, userText } from "./users.ts";
import { allowsVariable, VariableRule } from "./variable-rule.ts";

const Patterns = z.array(z.string().min(1).max(256)).max(256).default([]);
const Rules = z.array(CommandRule).max(256).default([]);

export const Policy = z.strictObject({
  version: z.literal(1),
  allow: z
    .strictObject({
      echo: z.boolean().default(true),
      /** OpenClaw agents by name; `default` stands for a task that names none. */
      agents: Patterns,
      tools: Patterns,
      /** Conversations of this machine's own that a task may name, as OpenClaw calls them: `main` (session-rule.ts). */
      sessions: Patterns,
      /** The first that allows a command says how it runs (allow-rule.ts). */
      commands: z.array(AllowRule).max(256).default([]),
      /** Folders, with all below them, in which a command may run; its own fresh folder is always allowed. */
      cwds: Folders,
      /** Variables that a command's task may set. PATH or LD_PRELOAD would undo every rule about commands: variable-rule.ts. */
      env: z.array(VariableRule).max(256).default([]),
      /** Secrets of this node, by name, that a command's task may have put into such a variable. */
      secrets: Patterns,
      /** Language models of this machine that other nodes may use, by id. */
      models: Patterns,
    })
    .prefault({}),
  deny: z
    .strictObject({
      kinds: z.array(TaskKind).default([]),
      agents: Patterns,
      tools: Patterns,
      commands: Rules,
      cwds: Folders,
      models: Patterns,
    })
    .prefault({}),
  /** Everybody, unless said. */
  users: Users.optional(),
  hours: Hours.optional(),
  /** While the machine runs on its battery. `models`: others may use its models all the same. */
  battery: z.strictObject({ models: z.boolean().default(false) }).prefault({}),
  /** What one command may take of the machine. */
  limits: Limits.prefault({}),
  /** required: a command runs in a sandbox or not at all. preferred: without one where there is none. */
  sandbox: SandboxMode.default("none"),
});
export type Policy = z.infer<typeof Policy>;

/** Where the policy comes from; it may change between two calls. */
export interface PolicySource {
  current(): Policy;
}

export const DEFAULT_POLICY: Policy = Policy.parse({ version: 1, allow: { agents: ["*"], models: ["*"] } });
export const DENY_ALL: Policy = Policy.parse({ version: 1, allow: { echo: false } });

/** `rules`: those that allow it, by their place in the policy. `rule`: the one that denies it, where it is not for want of one. */
export type Decision =
  | { readonly allow: true; readonly rules: readonly string[] }
  | { readonly allow: false; readonly reason: string; readonly rule?: string };

/** What only the node's file system knows of a command. */
export interface Found {
  /** The program's file, and the same with links followed. */
  readonly files: readonly string[];
  /** With links followed. */
  readonly cwd?: string;
}

/** Work that comes to the node. */
export interface Asked {
  readonly spec: TaskSpec;
  readonly submitter?: Submitter | undefined;
  readonly found?: Found | undefined;
}

/** Where and when it comes. */
export interface Here extends Moment {
  readonly node: string;
}

const allowed = (...rules: string[]): Decision => ({ allow: true, rules });
const denied = (reason: string, rule?: string): Decision => ({ allow: false, reason, ...(rule !== undefined && { rule }) });

const ECHO: Decision = allowed("allow.echo");

/** May the node begin it now? */
export function admit(policy: Policy, asked: Asked, here: Here): Decision {
  const { hours } = policy;
  const ever = mayGoOn(policy, asked);
  if (!ever.allow || hours === undefined || !isQuiet(hours, here)) return ever;
  // What lends models knows no task, and so none that only this node may run (model-rule.ts).
  if (hours.pinned && asked.spec.kind !== "model" && isPinned(asked.spec.require?.nodes, here.node)) return ever;
  return denied(`no new work ${untilWords(hours, here)}`, `hours.quiet: ${hoursText(hours, here.timeZone)}`);
}

/** May what has begun go on? The hours keep new work away only. */
export function mayGoOn(policy: Policy, { spec, submitter, found }: Asked): Decision {
  const user = policy.users && judgeUser(policy.users, submitter);
  if (user?.allow === false)
    return denied(`${userText(submitter)} may not use this node`, user.rule === undefined ? undefined : `users.deny: ${user.rule}`);
  const what = decide(policy, spec, found);
  if (!what.allow) return what;
  if ((spec.kind === "agent" || spec.kind === "tool") && isNobodys(spec.input.session, submitter))
    return denied(`whose session ${spec.input.session} is meant is not known`);
  return user === undefined ? what : { allow: true, rules: [...what.rules, `users.allow: ${user.rule}`] };
}

/** The task may run on this node and on no other. */
export function isPinned(nodes: readonly string[] | undefined, node: string): boolean {
  return nodes?.length === 1 && nodes[0] === node;
}

function untilWords(hours: Hours, moment: Moment): string {
  const { until } = quietness(hours, moment);
  return until === undefined ? "at any time" : `until ${untilText(until, hours, moment)}`;
}

/** What may run, whoever asks for it and whenever. */
export function decide(policy: Policy, spec: TaskSpec, found?: Found): Decision {
  if (policy.deny.kinds.includes(spec.kind)) return denied(`kind ${spec.kind} is denied`, `deny.kinds: ${spec.kind}`);
  switch (spec.kind) {
    case "echo":
      return policy.allow.echo ? ECHO : denied("kind echo is not allowed", "allow.echo: false");
    case "agent":
      return decideAgent(policy, spec.input.agent, spec.input.session);
    case "tool":
      return decideTool(policy, spec.input);
    case "command":
      return decideCommand(policy, spec.input, found);
    case "model":
      return decideModel(policy, modelNameOf(spec.input));
  }
}

/**
 * Of any model, or of one by its name. How its server writes it is not known here: where one spelling is allowed the model is, and one that
 * is not lent after all is not found when it is asked.
 */
function decideModel({ allow, deny }: Policy, name: string): Decision {
  const any = allow.models[0];
  if (any === undefined) return denied("no models are lent");
  if (isAutoName(name)) return allowed(`allow.models: ${any}`);
  const at = name.lastIndexOf("@");
  const id = at > 0 ? name.slice(0, at) : name;
  const against = deny.models.find((pattern) => matches(pattern, id));
  if (against !== undefined) return denied(`model ${id} is denied`, `deny.models: ${against}`);
  const open = allow.models.find((pattern) => spellings(id).some((one) => matches(pattern.toLowerCase(), one)));
  return open === undefined ? denied(`model ${id} is not allowed`) : allowed(`allow.models: ${open}`);
}

/** M2 in models/model-names.ts. */
function spellings(id: string): readonly string[] {
  const lower = id.toLowerCase();
  return [lower, `${lower}:latest`, lower.replace(/:latest$/, "")];
}

function decideAgent(policy: Policy, agent: string | undefined, session: string | undefined): Decision {
  const { allow, deny } = policy;
  const name = agent ?? "default";
  const against = deny.agents.find((pattern) => meansAgent(pattern, name));
  if (against !== undefined) return denied(`agent ${name} is denied`, `deny.agents: ${against}`);
  // Which agent is the default one is not known here, so it could be a denied one.
  const isAny = agent === undefined && deny.agents.length > 0;
  const open = allow.agents.find((pattern) => (isAny ? pattern === "default" : meansAgent(pattern, name)));
  if (open === undefined) return denied(`agent ${name} is not allowed`);
  const wanted = readSession(session);
  if (wanted.kind !== "machine") return allowed(`allow.agents: ${open}`);
  // A whole key would lead to the agent in it, whatever the task says.
  if (wanted.agent !== undefined && wanted.agent !== name.toLowerCase()) return denied("the session belongs to another agent");
  const rule = sessionRule(allow.sessions, wanted.name);
  if (rule === undefined) return denied(`the session ${wanted.name} is not allowed`);
  return allowed(`allow.agents: ${open}`, `allow.sessions: ${rule}`);
}

/** OpenClaw takes Main for main. */
function meansAgent(pattern: string, name: string): boolean {
  return matches(pattern.toLowerCase(), name.toLowerCase());
}

function decideTool(policy: Policy, input: Extract<TaskSpec, { kind: "tool" }>["input"]): Decision {
  const against = policy.deny.tools.find((pattern) => matches(pattern, input.tool));
  if (against !== undefined) return denied(`tool ${input.tool} is denied`, `deny.tools: ${against}`);
  const open = policy.allow.tools.find((pattern) => matches(pattern, input.tool));
  if (open === undefined) return denied(`tool ${input.tool} is not allowed`);
  const rule = `allow.tools: ${open}`;
  if (input.agent === undefined && input.session === undefined) return allowed(rule);
  const agent = decideAgent(policy, input.agent, input.session);
  return agent.allow ? allowed(rule, ...agent.rules) : agent;
}

function decideCommand(policy: Policy, input: Extract<TaskSpec, { kind: "command" }>["input"], found: Found | undefined): Decision {
  const { allow, deny } = policy;
  const name = input.argv[0] ?? "";
  const command = { argv: input.argv, stdin: input.stdin !== undefined, ...(found && { files: found.files }) };
  const against = deny.commands.find((rule) => ruleDenies(rule, command));
  if (against !== undefined) return denied(`command ${name} is denied`, `deny.commands: ${against.join(" ")}`);
  const open = openRule(policy, command);
  if (open === undefined) return denied(`command ${name} is not allowed with these arguments`);
  const rules = [`allow.commands: ${wordsOf(open).join(" ")}`];
  for (const [variable, value] of Object.entries(input.env ?? {})) {
    const may = allowsVariable(allow.env, variable);
    if ("reason" in may) return denied(may.reason);
    rules.push(`allow.env: ${may.rule}`);
    if (typeof value === "string") continue;
    const secret = allow.secrets.find((one) => matches(one, value.secret));
    if (secret === undefined) return denied(`a task may not use the secret ${value.secret}`);
    rules.push(`allow.secrets: ${secret}`);
  }
  const cwd = found?.cwd ?? input.cwd;
  if (cwd === undefined) return allowed(...rules);
  const shut = deny.cwds.find((folder) => isWithin(folder, cwd));
  if (shut !== undefined) return denied(`folder ${cwd} is denied`, `deny.cwds: ${shut}`);
  const home = allow.cwds.find((folder) => isWithin(folder, cwd));
  return home === undefined ? denied(`folder ${cwd} is not allowed`) : allowed(...rules, `allow.cwds: ${home}`);
}

function openRule({ allow }: Policy, command: Command): AllowRule | undefined {
  return allow.commands.find((rule) => ruleAllows(wordsOf(rule), command));
}

/** How a command runs that `decide` allows; `found` as it was given there. `writable`: where any command may write by this policy. */
export function boxFor(
  policy: Policy,
  input: Extract<TaskSpec, { kind: "command" }>["input"],
  found: Found,
): Box & { readonly writable: readonly string[] } {
  const { allow, sandbox } = policy;
  const open = openRule(policy, { argv: input.argv, stdin: input.stdin !== undefined, files: found.files });
  const writable = [...allow.cwds, ...allow.commands.flatMap((rule) => boxOf(rule, sandbox).folders)];
  // Changed in between: what no rule speaks of is shut in.
  return { ...(open === undefined ? { mode: "required", network: false, folders: [], reads: [] } : boxOf(open, sandbox)), writable };
}

function isWithin(folder: string, path: string): boolean {
  if (!isAbsolute(path) || path.split(/[/\\]/).includes("..")) return false;
  const base = folder.replace(/[/\\]+$/, "");
  return path === folder || path === base || path.startsWith(`${base}/`) || path.startsWith(`${base}\\`);
}
