/**
 * What the runs so far say about the next one: how long a kind takes on a node, how long it takes anywhere, and how
 * often it ends well. Moving averages, so that old runs fade; nothing is kept of a single run.
 *
 * Y1. Only successes teach a run time: a node on which everything fails at once would look like the fastest.
 */
import { TaskKind } from "@openclaw-cluster/contract/task-spec";

/** The share of the newest run in an average; the last twenty or so count. */
const NEWEST_SHARE = 0.1;
/** A node's own average counts as much as everybody's after this many runs (shrinkage: a few runs prove little). */
const PRIOR_RUNS = 5;
/** Before a kind was ever run, in the order of echo, command, agent, tool, model. Only ratios between nodes matter. */
const FIRST_GUESS_MS = [1, 1_000, 30_000, 1_000, 10_000];

/** No attempt may run longer (timeouts.runMs). */
const RUN_MS_MAX = 7 * 86_400_000;

const KINDS = TaskKind.options;
export const KIND_COUNT = KINDS.length;

export function kindIndex(kind: TaskKind): number {
  return kind === "echo" ? 0 : kind === "command" ? 1 : kind === "agent" ? 2 : kind === "tool" ? 3 : 4;
}

class Mean {
  runs = 0;
  ms = 0;

  add(ms: number): void {
    this.runs++;
    this.ms += (ms - this.ms) * Math.max(NEWEST_SHARE, 1 / this.runs);
  }
}

/** One node's, by kindIndex. */
export class NodeHistory {
  readonly runMs = KINDS.map(() => new Mean());
  /** Decayed share of successes; 1 until something fails. */
  readonly trust = KINDS.map(() => 1);
}

export class History {
  private readonly anywhere = KINDS.map(() => new Mean());

  observe(own: NodeHistory, kind: number, saidMs: number, succeeded: boolean): void {
    // A node can say what it likes of itself; what it says must not spoil the averages of all the others for good.
    const runMs = Math.min(saidMs, RUN_MS_MAX);
    const trust = own.trust[kind] as number;
    own.trust[kind] = trust + ((succeeded ? 1 : 0) - trust) * NEWEST_SHARE;
    if (!succeeded) return;
    (own.runMs[kind] as Mean).add(runMs);
    (this.anywhere[kind] as Mean).add(runMs);
  }

  /** The node's own average, drawn towards everybody's while it stands on few runs. */
  expectedRunMs(own: NodeHistory, kind: number): number {
    const anywhere = this.anywhere[kind] as Mean;
    if (anywhere.runs === 0) return FIRST_GUESS_MS[kind] as number;
    const { runs, ms } = own.runMs[kind] as Mean;
    return (runs * ms + PRIOR_RUNS * anywhere.ms) / (runs + PRIOR_RUNS);
  }
}

/** undefined: never run there. */
export function meanRunMs(own: NodeHistory, kind: number): number | undefined {
  const mean = own.runMs[kind] as Mean;
  return mean.runs === 0 ? undefined : mean.ms;
}
