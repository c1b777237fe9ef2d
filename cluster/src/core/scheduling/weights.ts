/**
 * What each term is worth in the balanced strategy. Chosen by hand after the simulation in the project's feature study
 * (ten seeds, synthetic work, with the terms eta, room and scarce among others): without `eta` the 95th percentile of
 * waiting rose from 117 to 204 s, so it leads; packing nodes full cost most, so `room` spreads. Not fitted to traces.
 * Where a term follows another scheduler, its comment names it.
 */
import type { Term } from "@openclaw-cluster/contract/placement";

export const WEIGHTS: Readonly<Record<Term, number>> = {
  /** The best expected end over the node's own (predicted latency, as in llm-d and Dynamo). */
  eta: 4,
  /** Free share after placement (Kubernetes' LeastAllocated). */
  room: 1,
  /** Idle share of the cores, whoever uses them. */
  load: 1,
  /** Wished-for labels (Nomad's affinities). */
  affinity: 2,
  /** Where the last task with this sticky key ran (Hatchet's soft sticky). */
  sticky: 2,
  /** Siblings that run there already (Nomad's job anti-affinity). */
  spread: -2,
  /** This task's last attempt failed there. It comes last anyway (D3 in choose.ts); this says so in the scores, as Nomad's reschedule penalty does. */
  retry: -2,
  /** Keeps nodes with rare skills and models free for those who need them. */
  scarce: 1,
  /** Decayed share of successes of this kind there. */
  trust: 1,
};
