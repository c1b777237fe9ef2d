/**
 * The strategies, each as a way to score a candidate; the highest score wins, ties are broken by rendezvous hash.
 * The terms kept with a decision are those that the strategy looked at.
 */
import type { Strategy } from "@openclaw-cluster/contract/task-spec";
import type { Fit } from "./fits.ts";
import type { Member } from "./member.ts";
import { round, type Scene, type Terms } from "./rank.ts";
import { WEIGHTS } from "./weights.ts";

export interface Judge {
  /** Scores are relative to the best candidate, so all of them must be seen first. */
  readonly compares: boolean;
  score(scene: Scene, fit: Fit): number;
  terms(scene: Scene, fit: Fit): Terms;
}

/** Makes load the second thing that `affinity` looks at: below the smallest difference that labels can make. */
const SECOND = 1e-6;
const noTerms = (scene: Scene, { member }: Fit): Terms => scene.withRetry(member, {});

export const JUDGES: Readonly<Record<Strategy, Judge>> = {
  /** The weighted sum of all terms. */
  balanced: {
    compares: true,
    score: (scene, fit) => scene.balanced(fit),
    terms: (scene, fit) => scene.balancedTerms(fit),
  },
  /** The node that was chosen least recently; the score is how many decisions ago. */
  round_robin: {
    compares: false,
    score: (scene, { member }) => scene.turn - member.chosen,
    terms: noTerms,
  },
  /** The node with the fewest leased slots for its size. */
  least_tasks: {
    compares: false,
    score: (_scene, { member }) => idleness(member),
    terms: (scene, { member }) => scene.withRetry(member, { room: round(scene.room(member)) }),
  },
  /** The fullest node that still has room. */
  best_fit: {
    compares: false,
    score: (scene, { member }) => fullness(scene, member),
    terms: (scene, { member }) => scene.withRetry(member, { room: round(scene.room(member)) }),
  },
  /** Any node, all alike. */
  random: {
    compares: false,
    score: (scene) => scene.random(),
    terms: noTerms,
  },
  /** Wished-for labels and stickiness alone; among equals the idlest. */
  affinity: {
    compares: false,
    score: (scene, fit) => WEIGHTS.affinity * fit.affinity + WEIGHTS.sticky * scene.stickiness(fit.member) + SECOND * idleness(fit.member),
    terms: (scene, { member, affinity }) => scene.withRetry(member, { affinity: round(affinity), sticky: scene.stickiness(member) }),
  },
};

/** 1 for an idle node; never below 0, also where work was given ahead. */
function idleness(member: Member): number {
  return member.slots / (member.slots + member.leased);
}

/**
 * 0 for an empty node, 1 for one that this task fills to the brim: Nomad's ScoreFitBinPack, which is Google's BestFit v3
 * ("20 − 10^free − 10^free", at most 18), here over slots and reservable memory and divided by its maximum.
 */
function fullness({ shape }: Scene, member: Member): number {
  const freeSlots = 1 - (member.leased + shape.slots) / member.capacity(shape);
  const freeMemory = member.memoryMaxMiB === 0 ? freeSlots : 1 - (member.memoryMiB + shape.memoryMiB) / member.memoryMaxMiB;
  return (20 - 10 ** freeSlots - 10 ** freeMemory) / 18;
}
