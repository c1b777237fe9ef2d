/**
 * The slow facts of this machine, for placement: what it is, what its OpenClaw has, what its policy allows. Lists are cut
 * at the schema's limits, never refused.
 *
 * Z1. They fit in a heartbeat: first the reasons for which skills are not eligible are left out, then the policy's lines for
 *     people, then whole entries (of lent models their digests before), and at last the policy's patterns of tools and sessions: without them, any is meant.
 * Z2. A Gateway that is down or slow does not hold the facts up; what it last said stays, marked unreachable.
 */
import os from "node:os";
import { ClusterError } from "@openclaw-cluster/contract/errors";
import { NODE_MODELS_MAX } from "@openclaw-cluster/contract/models";
import type { NodeFacts } from "@openclaw-cluster/contract/node";
import { PROTOCOL } from "@openclaw-cluster/contract/protocol";
import { Arch, Os, type Labels } from "@openclaw-cluster/contract/task-spec";
import type { Policy, PolicySource } from "../core/policy.ts";
import { summary } from "../core/policy-facts.ts";
import type { Executors } from "../executors/executors.ts";
import type { Gateway, Inventory } from "../openclaw/openclaw.ts";
import { localTimeZone, type Clock } from "../system/clock.ts";
import type { Log } from "../system/log.ts";
import { diskFreeMiB } from "./load.ts";

export interface FactsParts {
  /** Of this program. */
  readonly version: string;
  /** Names the disk that is measured. */
  readonly folder: string;
  readonly executors: Executors;
  readonly policy: PolicySource;
  /** How commands are held in; undefined where none may run. */
  readonly confinement?: (policy: Policy) => Promise<NodeFacts["confinement"]>;
  readonly labels: Labels;
  readonly slots: number;
  readonly clock: Clock;
  readonly log: Log;
  readonly gateway?: Pick<Gateway, "reachable" | "inventory">;
  /** The models that it lends at that moment; undefined: none to anybody. */
  readonly lends?: () => NodeFacts["lends"];
}

const INVENTORY_MS = 4_000;
const TEXT_MAX = 256;
const AGENTS_MAX = 256;
const MODELS_MAX = 512;
const SKILLS_MAX = 512;
const MISSING_MAX = 16;
const COMMANDS_MAX = 256;
const FACTS_BYTES_MAX = 256 * 1024;
/** Free disk is told in steps, so that facts change only when it matters; the load has it exactly. */
const DISK_STEP_MIB = 1_024;
const MIB = 1024 * 1024;

/** A function that gathers the facts as they are when it is called. */
export function gatherFacts(parts: FactsParts): () => Promise<NodeFacts> {
  let known: Inventory = { version: "", agents: [], models: [], skills: [] };
  const machine = machineFacts();
  return async () => {
    const fresh = await inventoryOf(parts);
    if (fresh !== undefined) known = fresh;
    const disk = Math.floor((await diskFreeMiB(parts.folder)) / DISK_STEP_MIB) * DISK_STEP_MIB;
    const lends = parts.lends?.();
    const confinement = await parts.confinement?.(parts.policy.current());
    const facts = {
      ...machine,
      diskFreeMiB: disk,
      version: parts.version,
      protocol: PROTOCOL,
      // That it carries out `model` is told by `lends` (contract/src/node.ts).
      kinds: [...parts.executors.keys()].filter((kind) => kind !== "model"),
      labels: parts.labels,
      slots: parts.slots,
      ...(lends !== undefined && { lends: lends.slice(0, NODE_MODELS_MAX) }),
      ...(confinement !== undefined && { confinement }),
    };
    return fitted({ ...facts, ...openclawFacts(known, fresh !== undefined, parts) });
  };
}

function openclawFacts(
  known: Inventory,
  reachable: boolean,
  { gateway, policy, clock }: FactsParts,
): Pick<NodeFacts, "openclaw" | "skills" | "policy"> {
  const { agents, commands, ...policyFacts } = summary(policy.current(), { now: clock.wall(), timeZone: localTimeZone() }, known.agents);
  const openclaw = {
    version: cut(known.version),
    reachable,
    agents: known.agents.slice(0, AGENTS_MAX).map(cut),
    models: known.models.slice(0, MODELS_MAX).map((model) => ({ ...model, id: cut(model.id), provider: cut(model.provider) })),
  };
  return {
    ...(gateway !== undefined && { openclaw }),
    skills: known.skills.slice(0, SKILLS_MAX).map(({ name, eligible, missing }) => ({
      name: cut(name),
      eligible,
      ...(missing !== undefined && { missing: missing.slice(0, MISSING_MAX).map(cut) }),
    })),
    policy: {
      ...policyFacts,
      ...(agents !== undefined && { agents: agents.slice(0, AGENTS_MAX).map(cut) }),
      ...(commands !== undefined && { commands: commands.slice(0, COMMANDS_MAX).map(cut) }),
    },
  };
}

/** Z1 */
function fitted(facts: NodeFacts): NodeFacts {
  let fit = facts;
  if (sizeOf(fit) > FACTS_BYTES_MAX) fit = { ...fit, skills: fit.skills.map(({ name, eligible }) => ({ name, eligible })) };
  if (sizeOf(fit) > FACTS_BYTES_MAX) fit = { ...fit, policy: withoutRules(fit.policy) };
  if (sizeOf(fit) > FACTS_BYTES_MAX && fit.lends) fit = { ...fit, lends: fit.lends.map(({ digest: _its, ...model }) => model) };
  // What is left then has limits of its own, and a message holds four times as much.
  while (sizeOf(fit) > FACTS_BYTES_MAX && hasEntries(fit)) {
    const { skills, openclaw, lends } = fit;
    fit = {
      ...fit,
      skills: skills.slice(0, skills.length / 2),
      ...(lends && { lends: lends.slice(0, lends.length / 2) }),
      ...(openclaw && { openclaw: { ...openclaw, models: openclaw.models.slice(0, openclaw.models.length / 2) } }),
    };
  }
  if (sizeOf(fit) > FACTS_BYTES_MAX) fit = { ...fit, policy: withoutPatterns(fit.policy) };
  return fit;
}

const hasEntries = ({ skills, openclaw, lends }: NodeFacts): boolean =>
  skills.length + (openclaw?.models.length ?? 0) + (lends?.length ?? 0) > 0;

function withoutRules({ rules: _rules, ...policy }: NodeFacts["policy"]): NodeFacts["policy"] {
  return policy;
}

function withoutPatterns({ tools: _tools, sessions: _sessions, ...policy }: NodeFacts["policy"]): NodeFacts["policy"] {
  return policy;
}

const sizeOf = (facts: NodeFacts): number => Buffer.byteLength(JSON.stringify(facts));

function machineFacts(): Pick<NodeFacts, "hostname" | "os" | "arch" | "cpus" | "memoryMiB" | "nodeVersion"> {
  const system = Os.safeParse(process.platform);
  const arch = Arch.safeParse(process.arch);
  if (!system.success || !arch.success)
    throw new ClusterError("config_invalid", `This program does not run on ${process.platform} ${process.arch}.`);
  return {
    hostname: cut(os.hostname()),
    os: system.data,
    arch: arch.data,
    // What this process may use: fewer than the machine has in a container.
    cpus: os.availableParallelism(),
    memoryMiB: Math.floor(Math.min(os.totalmem(), process.constrainedMemory() || Infinity) / MIB),
    nodeVersion: process.version,
  };
}

/** undefined: there is no Gateway, or it does not answer in time. */
async function inventoryOf({ gateway, clock, log }: FactsParts): Promise<Inventory | undefined> {
  if (gateway === undefined || !gateway.reachable) return undefined;
  const late = Promise.withResolvers<undefined>();
  const timer = clock.after(INVENTORY_MS, () => late.resolve(undefined));
  try {
    return await Promise.race([gateway.inventory(), late.promise]);
  } catch (error) {
    if (!(error instanceof ClusterError)) throw error;
    log.debug({ code: error.code }, "the Gateway's inventory could not be read");
    return undefined;
  } finally {
    timer.cancel();
  }
}

function cut(text: string): string {
  return text.slice(0, TEXT_MAX);
}
