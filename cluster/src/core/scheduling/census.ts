/**
 * How many nodes have each skill and model, so that a node with a rare one can be kept free for those who need it.
 * Counts every node that has sent facts, also a silent one: it will be back, and a flicker must not reorder the rest.
 */
import type { NodeFacts } from "@openclaw-cluster/contract/node";
import type { Member } from "./member.ts";
import type { Shape } from "./shape.ts";

interface Features {
  readonly skills: readonly string[];
  readonly models: readonly string[];
}

interface Rare extends Features {
  readonly version: number;
  readonly count: number;
}

const NOTHING: Features = { skills: [], models: [] };

export class Census {
  /** Grows when any count changes. */
  version = 0;
  private nodes = 0;
  private readonly skills = new Map<string, number>();
  private readonly models = new Map<string, number>();
  private readonly features = new Map<Member, Features>();
  private readonly rare = new Map<Member, Rare>();

  /** Of a node as it is now; no facts: it is gone. */
  take(member: Member, facts: NodeFacts | undefined): void {
    const known = this.features.get(member);
    const now = facts && featuresOf(facts);
    if (
      known === undefined
        ? now === undefined
        : now !== undefined && sameNames(known.skills, now.skills) && sameNames(known.models, now.models)
    )
      return;
    this.version++;
    this.nodes += (now === undefined ? 0 : 1) - (known === undefined ? 0 : 1);
    for (const name of (known ?? NOTHING).skills) count(this.skills, name, -1);
    for (const name of (known ?? NOTHING).models) count(this.models, name, -1);
    for (const name of (now ?? NOTHING).skills) count(this.skills, name, 1);
    for (const name of (now ?? NOTHING).models) count(this.models, name, 1);
    if (now === undefined) this.features.delete(member);
    else this.features.set(member, now);
    this.rare.delete(member);
  }

  /** Which of the node's rare skills and models the shape has a use for, as a share; 1 where the node has none. */
  used(member: Member, shape: Shape): number {
    const rare = this.rareOf(member);
    if (rare.count === 0) return 1;
    if (shape.skills.length + shape.models.length === 0) return 0;
    const skills = rare.skills.filter((name) => shape.skills.includes(name)).length;
    const models = rare.models.filter((name) => shape.models.some((wanted) => modelMatches(name, wanted))).length;
    return (skills + models) / rare.count;
  }

  /** Rare: at most half of the nodes have it. */
  private rareOf(member: Member): Rare {
    const known = this.rare.get(member);
    if (known?.version === this.version) return known;
    const { skills, models } = this.features.get(member) ?? NOTHING;
    const isRare = (counts: Map<string, number>) => (name: string) => (counts.get(name) ?? 0) * 2 <= this.nodes;
    const rare = { skills: skills.filter(isRare(this.skills)), models: models.filter(isRare(this.models)) };
    const fresh = { ...rare, version: this.version, count: rare.skills.length + rare.models.length };
    this.rare.set(member, fresh);
    return fresh;
  }
}

/** A model is wanted as `provider/id` or by its id alone. */
export function modelMatches(name: string, wanted: string): boolean {
  return name === wanted || name.endsWith(`/${wanted}`);
}

export function modelNames(facts: NodeFacts): string[] {
  return (facts.openclaw?.models ?? []).map(({ provider, id }) => `${provider}/${id}`);
}

function featuresOf(facts: NodeFacts): Features {
  return { skills: facts.skills.filter(({ eligible }) => eligible).map(({ name }) => name), models: modelNames(facts) };
}

function sameNames(a: readonly string[], b: readonly string[]): boolean {
  return a.length === b.length && a.every((name, index) => name === b[index]);
}

function count(counts: Map<string, number>, name: string, by: 1 | -1): void {
  const total = (counts.get(name) ?? 0) + by;
  if (total === 0) counts.delete(name);
  else counts.set(name, total);
}
