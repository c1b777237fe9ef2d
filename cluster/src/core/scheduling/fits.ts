/**
 * Which nodes fit a shape, kept from one decision to the next: the filter runs once for each shape and version of a
 * node, not once for each task. Also the refusals that pass by themselves: no slot, no memory, asked too recently.
 *
 * K1. `list` is in the order of the roster, so by id.
 * K2. What a decision keeps of refused nodes is shared between decisions as far as possible: one is written per task.
 */
import type { NodeId } from "@openclaw-cluster/contract/ids";
import type { SchedulableNode } from "../node.ts";
import { count, refusal, type Verdict } from "./filter.ts";
import type { Asker, Member } from "./member.ts";
import { REFUSED_KEPT, type Refused } from "./placement.ts";
import type { Roster } from "./roster.ts";
import type { Shape } from "./shape.ts";

/** A node that can run a shape, with the parts of the score that change only with the node's facts. */
export interface Fit {
  /** Stands in the list of nodes that may have room for the shape's line. */
  open: boolean;
  readonly member: Member;
  readonly affinity: number;
  readonly scarce: number;
  /** What is kept of it when it is full (K2). */
  readonly noSlots: Refused;
  readonly noMemory: Refused;
}

export interface Fits {
  readonly version: number;
  readonly census: number;
  readonly list: readonly Fit[];
  /** By the member's index. */
  readonly at: readonly (Fit | undefined)[];
  /** The nodes that never fit, the first REFUSED_KEPT of them. */
  readonly refused: readonly Refused[];
  readonly refusedMore: number;
}

const NEVER: Fits = { version: 0, census: 0, list: [], at: [], refused: [], refusedMore: 0 };

export class FitBook {
  private readonly roster: Roster;
  private readonly kept: (Fits | undefined)[] = [];
  private readonly penalties: (Map<NodeId, number> | undefined)[] = [];
  private readonly penalised = new Set<Shape>();

  constructor(roster: Roster) {
    this.roster = roster;
  }

  of(shape: Shape): Fits {
    const kept = this.kept[shape.index];
    if (kept?.version === this.roster.version) return kept;
    return (this.kept[shape.index] = fitsOf(shape, this.roster, kept ?? NEVER));
  }

  penalise(shape: Shape, node: NodeId, until: number): void {
    (this.penalties[shape.index] ??= new Map()).set(node, until);
    this.penalised.add(shape);
  }

  /** When the node may be asked again; undefined: now. */
  penalty(shape: Shape, node: NodeId): number | undefined {
    return this.penalties[shape.index]?.get(node);
  }

  hasPenalties(shape: Shape): boolean {
    return this.penalties[shape.index] !== undefined;
  }

  /** The node is not what it was when it refused: it may be asked again. */
  pardon(node: NodeId): void {
    for (const shape of this.penalised) {
      const nodes = this.penalties[shape.index];
      if (nodes?.has(node)) nodes.set(node, 0);
    }
  }

  /** Lifts the penalties that are over; gives the shapes that had one. */
  forgive(now: number): Shape[] {
    const freed: Shape[] = [];
    for (const shape of this.penalised) {
      const nodes = this.penalties[shape.index] as Map<NodeId, number>;
      for (const [node, until] of nodes) {
        if (until > now) continue;
        nodes.delete(node);
        if (freed.at(-1) !== shape) freed.push(shape);
      }
      if (nodes.size > 0) continue;
      this.penalties[shape.index] = undefined;
      this.penalised.delete(shape);
    }
    return freed;
  }

  forget(shape: Shape): void {
    this.kept[shape.index] = undefined;
  }
}

/** Why a node that fits is not taken at this moment by a task of that rank. */
export function busy(member: Member, shape: Shape, asker: Asker, penalisedUntil: number | undefined, now: number): Verdict | undefined {
  const { id } = member;
  if (penalisedUntil !== undefined && penalisedUntil > now) {
    return { code: "penalised", detail: PENALISED, remedy: `wait: it is asked again in ${Math.ceil((penalisedUntil - now) / 1_000)} s` };
  }
  if (!member.hasSlots(shape)) return { code: "slots_busy", detail: noSlots(member, shape), remedy: `wait, or give ${id} more slots` };
  if (!member.hasMemory(shape))
    return { code: "memory_busy", detail: noMemory(shape), remedy: "wait, or ask for less in require.memoryMiB" };
  if (member.isHeldFrom(shape, asker)) return { code: "slots_busy", detail: HELD, remedy: "wait until that one has started" };
  return undefined;
}

export const PENALISED = "refused such a task a moment ago";
export const HELD = "is being emptied for a task that comes first";

const noSlots = (member: Member, shape: Shape): string =>
  shape.slots === 1
    ? `has none of its ${count(member.slots, "slot")} free`
    : `has fewer than ${shape.slots} of its ${count(member.slots, "slot")} free`;
const noMemory = (shape: Shape): string => `has less than ${shape.memoryMiB} MiB left to set aside`;

export function fitOf(member: Member, shape: Shape, roster: Roster): Fit {
  return {
    open: false,
    member,
    affinity: affinity(member.node as SchedulableNode, shape),
    scarce: roster.census.used(member, shape),
    noSlots: [member.id, "slots_busy", noSlots(member, shape)],
    noMemory: [member.id, "memory_busy", noMemory(shape)],
  };
}

/** Answers again for the members that changed since `kept`. */
function fitsOf(shape: Shape, roster: Roster, kept: Fits): Fits {
  const list: Fit[] = [];
  const at: (Fit | undefined)[] = [];
  const refused: Refused[] = [];
  const sameCensus = kept.census === roster.census.version;
  for (const member of roster.members) {
    const node = member.node as SchedulableNode;
    const before = kept.at[member.index];
    const changed = member.version > kept.version;
    const verdict = changed || (before === undefined && refused.length < REFUSED_KEPT) ? refusal(node, shape) : undefined;
    if (verdict !== undefined) {
      if (refused.length < REFUSED_KEPT) refused.push([member.id, verdict.code, verdict.detail]);
    } else if (changed || before !== undefined) {
      const fit = changed || before === undefined || !sameCensus ? fitOf(member, shape, roster) : before;
      list.push(fit);
      at[member.index] = fit;
    }
  }
  const refusedMore = roster.members.length - list.length - refused.length;
  return { version: roster.version, census: roster.census.version, list, at, refused, refusedMore };
}

/** The wished-for labels that the node has, by their weights, moved from −1…1 to 0…1 (Nomad's affinity score). */
function affinity(node: SchedulableNode, { wishes }: Shape): number {
  let matched = 0;
  let all = 0;
  for (const { name, value, weight } of wishes) {
    all += Math.abs(weight);
    if (node.labels[name] === value) matched += weight;
  }
  return all === 0 ? 0.5 : (matched / all + 1) / 2;
}
