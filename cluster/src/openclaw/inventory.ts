/** What this machine's OpenClaw offers: its agents, the default one first, its models, its skills with their eligibility. */
import type { NodeModel, NodeSkill } from "@openclaw-cluster/contract/node";
import { z } from "zod";
import type { Connection } from "./connection.ts";
import type { Inventory } from "./openclaw.ts";

/** The limits of NodeFacts: longer lists and names are cut, so that one odd skill does not hide a node. */
const AGENTS_MAX = 256;
const MODELS_MAX = 512;
const SKILLS_MAX = 512;
const MISSING_MAX = 16;
const NAME_CHARS_MAX = 256;
const CONNECT_MS = 5_000;

const Agents = z.looseObject({ defaultId: z.string(), agents: z.array(z.looseObject({ id: z.string(), kind: z.string().optional() })) });
const Models = z.looseObject({
  models: z.array(
    z.looseObject({ id: z.string(), provider: z.string(), contextWindow: z.int().optional(), available: z.boolean().catch(true) }),
  ),
});
const Names = z.array(z.string()).catch([]);
const Missing = z.looseObject({ bins: Names, anyBins: Names, env: Names, config: Names, os: Names });
const Skill = z.looseObject({
  name: z.string(),
  eligible: z.boolean(),
  disabled: z.boolean().catch(false),
  blockedByAllowlist: z.boolean().catch(false),
  blockedByAgentFilter: z.boolean().catch(false),
  missing: Missing.catch({ bins: [], anyBins: [], env: [], config: [], os: [] }),
});
const Skills = z.looseObject({ skills: z.array(Skill) });

export async function readInventory(connection: Connection): Promise<Inventory> {
  const hello = await connection.ready(CONNECT_MS);
  const [agents, models, skills] = await Promise.all([
    connection.request("agents.list", {}, Agents),
    connection.request("models.list", { view: "configured" }, Models),
    connection.request("skills.status", {}, Skills),
  ]);
  return {
    version: hello.version,
    agents: agentNames(agents),
    models: models.models
      .filter((model) => model.available)
      .slice(0, MODELS_MAX)
      .map(toModel),
    skills: skills.skills.slice(0, SKILLS_MAX).map(toSkill),
  };
}

function agentNames({ defaultId, agents }: z.infer<typeof Agents>): string[] {
  const names = agents.filter((agent) => agent.kind !== "system").map((agent) => agent.id);
  const first = names.filter((name) => name === defaultId);
  return [...first, ...names.filter((name) => name !== defaultId)].slice(0, AGENTS_MAX);
}

function toModel({ id, provider, contextWindow }: z.infer<typeof Models>["models"][number]): NodeModel {
  return { id: cut(id), provider: cut(provider), ...(contextWindow !== undefined && { contextWindow }) };
}

function toSkill({ name, eligible, disabled, blockedByAllowlist, blockedByAgentFilter, missing }: z.infer<typeof Skill>): NodeSkill {
  const blocked = [
    ...(disabled ? ["it is disabled"] : []),
    ...(blockedByAllowlist || blockedByAgentFilter ? ["it is not on the agent's list"] : []),
  ];
  const what = [...blocked, ...wants(missing)].slice(0, MISSING_MAX).map(cut);
  return { name: cut(name), eligible: eligible && blocked.length === 0, ...(what.length > 0 && { missing: what }) };
}

function wants({ bins, anyBins, env, config, os }: z.infer<typeof Missing>): string[] {
  return [
    ...bins.map((name) => `program ${name}`),
    ...(anyBins.length > 0 ? [`one of the programs ${anyBins.join(", ")}`] : []),
    ...env.map((name) => `variable ${name}`),
    ...config.map((name) => `setting ${name}`),
    ...(os.length > 0 ? [`system ${os.join(" or ")}`] : []),
  ];
}

function cut(name: string): string {
  return name.slice(0, NAME_CHARS_MAX);
}
