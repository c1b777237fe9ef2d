/**
 * Which node can run a task at all, as one column of checks, the most telling first. Each says what is wrong and what a
 * person can do about it. These answers depend on the node and the shape alone, never on what is running; those that
 * pass by themselves (busy, penalised) are in fits.ts.
 *
 * F1. `detail` completes the sentence "<node> …"; `remedy` is advice that can be followed as it stands.
 * F2. The node itself decides in the end (G7): a check may let through what the node refuses, not the other way round.
 */
import { diskFullText, type NodeFacts } from "@openclaw-cluster/contract/node";
import type { Refusal } from "@openclaw-cluster/contract/placement";
import { matches } from "../command-rule.ts";
import type { SchedulableNode } from "../node.ts";
import { isPinned } from "../policy.ts";
import { protocolGap } from "../protocol-gap.ts";
import { sessionRule } from "../session-rule.ts";
import { judgeUser, userText } from "../users.ts";
import { modelMatches, modelNames } from "./census.ts";
import { lentLack } from "./lent.ts";
import { MEMORY_SHARE } from "./member.ts";
import type { Shape } from "./shape.ts";

export interface Verdict {
  readonly code: Refusal;
  readonly detail: string;
  readonly remedy: string;
}

type Check = (node: SchedulableNode, need: Shape) => Verdict | undefined;
type FactsCheck = (facts: NodeFacts, node: SchedulableNode, need: Shape) => Verdict | undefined;

const no = (code: Refusal, detail: string, remedy: string): Verdict => ({ code, detail, remedy });

const STANDING: readonly Check[] = [named, approved, ready, active, roomy];
const ABILITY: readonly FactsCheck[] = [understood, kind, allowed, sandboxed, lent, os, arch, labels, skills, models, slots, memory, awake];

/** undefined: the node can run it, if not at this moment. */
export function refusal(node: SchedulableNode, need: Shape): Verdict | undefined {
  for (const check of STANDING) {
    const verdict = check(node, need);
    if (verdict !== undefined) return verdict;
  }
  const { facts } = node;
  if (facts === undefined)
    return no(
      "not_ready",
      "has not said yet what it can do",
      `wait a moment; if it stays so, look at its log: openclaw-cluster nodes show ${node.id}`,
    );
  for (const check of ABILITY) {
    const verdict = check(facts, node, need);
    if (verdict !== undefined) return verdict;
  }
  return undefined;
}

function named({ id }: SchedulableNode, need: Shape): Verdict | undefined {
  if (need.nodes === undefined || need.nodes.includes(id)) return undefined;
  return no("not_named", `is not among the nodes that the task names (${list(need.nodes)})`, `add ${id} to require.nodes`);
}

function approved({ id, state }: SchedulableNode): Verdict | undefined {
  if (state === "pending") return no("not_approved", "is not approved yet", `let ${id} in on the coordinator`);
  if (state === "revoked") return no("not_approved", "was revoked", `join that machine anew: openclaw-cluster join`);
  return undefined;
}

function ready({ id, state }: SchedulableNode): Verdict | undefined {
  switch (state) {
    case "suspect":
      return no("not_ready", "has been silent for some seconds", `wait a moment, or look at the machine and its network`);
    case "lost":
      return no("not_ready", "is lost: it does not answer", `start the machine ${id} or mend its network`);
    case "offline":
      return no("not_ready", "is offline", `start it: openclaw-cluster start, on ${id}`);
    case "asleep":
      return no("not_ready", "is asleep", `wake the machine ${id}`);
    default:
      return undefined;
  }
}

function active({ id, draining }: SchedulableNode): Verdict | undefined {
  return draining ? no("draining", "is draining", `resume it: openclaw-cluster nodes resume ${id}`) : undefined;
}

/** The node says so itself (worker/disk-room.ts), and goes on when there is room. */
function roomy({ id, load }: SchedulableNode): Verdict | undefined {
  const full = load && diskFullText(load);
  return full === undefined ? undefined : no("disk_full", `takes no new work (${full})`, `free disk space on ${id}; it goes on by itself`);
}

function understood(facts: NodeFacts, { id }: SchedulableNode): Verdict | undefined {
  const gap = protocolGap(id, facts);
  return gap && no("protocol", gap.detail, gap.remedy);
}

function kind(facts: NodeFacts, { id }: SchedulableNode, need: Shape): Verdict | undefined {
  if (need.kind === "model")
    return facts.lends === undefined
      ? no("kind", "lends no models", `allow them in policy.yaml on ${id} (allow.models), or update openclaw-cluster there`)
      : undefined;
  if (!facts.kinds.includes(need.kind))
    return no("kind", `does not run tasks of kind ${need.kind}`, `use a node that does, or update openclaw-cluster on ${id}`);
  if (need.kind !== "agent" && need.kind !== "tool") return undefined;
  const { openclaw } = facts;
  if (openclaw === undefined) return no("kind", "has no OpenClaw", `install OpenClaw on ${id} and start its Gateway`);
  if (!openclaw.reachable) return no("kind", "does not reach its OpenClaw Gateway", `start the Gateway on ${id}: openclaw gateway run`);
  if (need.agent === undefined || openclaw.agents.includes(need.agent)) return undefined;
  return no("kind", `has no OpenClaw agent ${need.agent}`, `add the agent ${need.agent} to OpenClaw on ${id}`);
}

function allowed(facts: NodeFacts, { id }: SchedulableNode, need: Shape): Verdict | undefined {
  const { kinds, agents, tools, sessions, commands, users } = facts.policy;
  const denied = (what: string): Verdict => no("policy", `does not allow ${what}`, `allow it in policy.yaml on ${id}`);
  if (users !== undefined && !judgeUser(users, need.submitter).allow) return denied(userText(need.submitter));
  // Models are told of in `lends`.
  if (need.kind !== "model" && !kinds.includes(need.kind)) return denied(`tasks of kind ${need.kind}`);
  const { tool, session, program } = need;
  const isOpen = (name: string): boolean => tools === undefined || (isAmong(tools.allow, name) && !isAmong(tools.deny, name));
  if (tool !== undefined && !isOpen(tool)) return denied(`the tool ${tool}`);
  const agent = need.agent ?? (need.kind === "agent" ? DEFAULT_AGENT : undefined);
  if (agents !== undefined && agent !== undefined && !agents.includes(agent)) return denied(`the agent ${agent}`);
  if (session !== undefined && sessions !== undefined && sessionRule(sessions, session) === undefined)
    return denied(`the session ${session}`);
  if (commands === undefined || program === undefined) return undefined;
  // A rule by absolute path can stand for a bare name: only the node knows its PATH (F2).
  return commands.some((one) => one === program || one.endsWith(`/${program}`)) ? undefined : denied(`the command ${program}`);
}

const isAmong = (patterns: readonly string[], name: string): boolean => patterns.some((pattern) => matches(pattern, name));

/** A command that the node's policy runs in a sandbox only, where there is none. */
function sandboxed({ confinement }: NodeFacts, { id }: SchedulableNode, { kind: its, program }: Shape): Verdict | undefined {
  if (its !== "command" || program === undefined || confinement === undefined || confinement.sandbox.available) return undefined;
  const { required, reason } = confinement.sandbox;
  if (!required.some((one) => one === "**" || one === program || one.endsWith(`/${program}`))) return undefined;
  return no(
    "sandbox",
    `has no sandbox, without which its policy does not run ${program}${reason === undefined ? "" : `: ${reason}`}`,
    `install bubblewrap on ${id}, or change sandbox in policy.yaml there`,
  );
}

/** In quiet hours a node lends nothing; then these are what speaks against it, also to a task that only it may run. */
function lent({ lends, policy: { hours } }: NodeFacts, { id }: SchedulableNode, { wish }: Shape): Verdict | undefined {
  if (wish === undefined || lends === undefined) return undefined;
  if (lends.length === 0 && hours?.quiet !== undefined)
    return no(
      "quiet_hours",
      `does not lend models${untilWords(hours.quiet)} by its policy`,
      `wait, or change hours in policy.yaml on ${id}`,
    );
  const lack = lentLack(lends, id, wish);
  return lack && no("models", lack.detail, lack.remedy);
}

/** How a policy's summary calls the agent of a task that names none (core/policy.ts). */
const DEFAULT_AGENT = "default";

function os(facts: NodeFacts, { id }: SchedulableNode, { require }: Shape): Verdict | undefined {
  if (require.os === undefined || require.os.includes(facts.os)) return undefined;
  return no(
    "os",
    `runs ${facts.os}, not ${either(require.os)}`,
    `add a node with ${either(require.os)}, or allow ${facts.os} in require.os for ${id}`,
  );
}

function arch(facts: NodeFacts, { id }: SchedulableNode, { require }: Shape): Verdict | undefined {
  if (require.arch === undefined || require.arch.includes(facts.arch)) return undefined;
  return no(
    "arch",
    `is ${facts.arch}, not ${either(require.arch)}`,
    `add a node with ${either(require.arch)}, or allow ${facts.arch} in require.arch for ${id}`,
  );
}

function labels(_facts: NodeFacts, node: SchedulableNode, { require }: Shape): Verdict | undefined {
  const missing = Object.entries(require.labels ?? {}).filter(([name, value]) => node.labels[name] !== value);
  if (missing.length === 0) return undefined;
  const detail = missing.map(([name, value]) =>
    node.labels[name] === undefined ? `no label ${name}=${value}` : `${name}=${node.labels[name]} instead of ${value}`,
  );
  return no(
    "labels",
    `has ${list(detail)}`,
    `label it: openclaw-cluster nodes label ${node.id} ${missing.map(([name, value]) => `${name}=${value}`).join(" ")}`,
  );
}

function skills(facts: NodeFacts, { id }: SchedulableNode, need: Shape): Verdict | undefined {
  for (const name of need.skills) {
    const found = facts.skills.find((skill) => skill.name === name);
    if (found === undefined) return no("skills", `has no skill ${name}`, `install the skill ${name} on ${id}`);
    if (found.eligible) continue;
    const missing = found.missing?.length ? `missing ${list(found.missing)}` : "OpenClaw does not say why";
    return no(
      "skills",
      `has the skill ${name}, but it is not eligible: ${missing}`,
      `make it eligible on ${id}: openclaw skills info ${name} says how`,
    );
  }
  return undefined;
}

function models(facts: NodeFacts, { id }: SchedulableNode, need: Shape): Verdict | undefined {
  if (need.models.length === 0) return undefined;
  const names = modelNames(facts);
  const missing = need.models.filter((wanted) => !names.some((name) => modelMatches(name, wanted)));
  if (missing.length === 0) return undefined;
  return no("models", `has no model ${list(missing)}`, `add ${list(missing)} to the models of OpenClaw on ${id}`);
}

function slots(_facts: NodeFacts, node: SchedulableNode, need: Shape): Verdict | undefined {
  if (need.slots <= node.slots) return undefined;
  return no(
    "slots_short",
    `has ${count(node.slots, "slot")} in all, and the task takes ${need.slots}`,
    `give ${node.id} at least ${need.slots} slots, or ask for fewer`,
  );
}

function memory(facts: NodeFacts, { id }: SchedulableNode, need: Shape): Verdict | undefined {
  const reservable = Math.floor(facts.memoryMiB * MEMORY_SHARE);
  const limit = need.kind === "command" ? facts.confinement?.limits.memoryMiB : undefined;
  if (limit !== undefined && need.memoryMiB > limit)
    return no(
      "memory_short",
      `lets a command take ${limit} MiB, and the task takes ${need.memoryMiB}`,
      `ask for less in require.memoryMiB, or raise limits.memoryMiB in policy.yaml on ${id}`,
    );
  if (need.memoryMiB <= reservable) return undefined;
  return no(
    "memory_short",
    `can set aside ${reservable} MiB in all, and the task takes ${need.memoryMiB}`,
    `ask for less in require.memoryMiB; ${id} has ${facts.memoryMiB} MiB`,
  );
}

/** Last: what else is missing does not pass by itself. The node says it anew when the hours begin and end. */
function awake({ policy: { hours } }: NodeFacts, { id }: SchedulableNode, need: Shape): Verdict | undefined {
  if (hours?.quiet === undefined || (hours.pinned && isPinned(need.nodes, id))) return undefined;
  const remedy = `wait${hours.pinned ? `, name no other node in require.nodes (--on ${id})` : ""}, or change hours in policy.yaml on ${id}`;
  return no("quiet_hours", `does not take work${untilWords(hours.quiet)} by its policy`, remedy);
}

const untilWords = ({ text }: { readonly text?: string | undefined }): string => (text === undefined ? "" : ` until ${text}`);
const list = (names: readonly string[]): string => names.join(", ");
const either = (names: readonly string[]): string => names.join(" or ");
export const count = (n: number, noun: string): string => `${n} ${noun}${n === 1 ? "" : "s"}`;
