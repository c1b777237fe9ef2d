/** How long one attempt may take, where its task does not say. The worker keeps these times, the coordinator stands behind it. */
import type { TaskSpec } from "@openclaw-cluster/contract/task-spec";

const MINUTE_MS = 60_000;
const RUN_MS = {
  echo: 10 * MINUTE_MS,
  command: 10 * MINUTE_MS,
  agent: 30 * MINUTE_MS,
  tool: 10 * MINUTE_MS,
  model: 10 * MINUTE_MS,
} as const;
const AGENT_IDLE_MS = 5 * MINUTE_MS;
/** After its run a large result may be on its way into the object store for some minutes. */
const OVERRUN_MARGIN_MS = 10 * MINUTE_MS;

export function runMsOf({ kind, timeouts }: TaskSpec): number {
  return timeouts?.runMs ?? RUN_MS[kind];
}

/** Infinity: none. */
export function idleMsOf({ kind, timeouts }: TaskSpec): number {
  return timeouts?.idleMs ?? (kind === "agent" ? AGENT_IDLE_MS : Infinity);
}

/**
 * A node that holds an attempt for longer cannot be trusted to end it. Twice the run, because an agent's turn that is
 * taken up again after a restart of its worker may take its time once more.
 */
export function overrunMsOf(spec: TaskSpec): number {
  return 2 * runMsOf(spec) + OVERRUN_MARGIN_MS;
}
