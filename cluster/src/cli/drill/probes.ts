/** The tasks of a drill: echoes that run only where the drill says, after all real work, and that nobody has to tidy up. */
import type { Client } from "@openclaw-cluster/contract/client/client";
import type { NodeId, TaskId } from "@openclaw-cluster/contract/ids";
import { LIMITS } from "@openclaw-cluster/contract/limits";
import { TERMINAL } from "@openclaw-cluster/contract/task";
import type { TaskSpec } from "@openclaw-cluster/contract/task-spec";
import { failureOf } from "../failure.ts";

/** Long enough that a blow meets them at work; short enough that a slot is soon free for what it struck. */
export const PROBE_MS = 200;
/** Those of a drill that was killed end by themselves, with queue_timeout. */
const QUEUE_MS = 600_000;

export const DRILL_LABEL = "drill";

export function probe(drill: string, nodes: readonly NodeId[]): TaskSpec {
  return {
    kind: "echo",
    input: { value: drill, delayMs: PROBE_MS },
    name: `drill ${drill}`,
    labels: { [DRILL_LABEL]: drill },
    // Every node its share, or a blow might fall where nothing is.
    ...(nodes.length > 0 && { require: { nodes: [...nodes] }, strategy: "round_robin" as const }),
    priority: "low",
    timeouts: { queueMs: QUEUE_MS },
  };
}

/** Cancels what is not over of a drill's tasks. */
export async function cancelProbes(client: Client, drill: string): Promise<void> {
  const states = ["scheduled", "queued", "leased", "running"] as const;
  const { tasks } = await client.listTasks({ label: `${DRILL_LABEL}=${drill}`, state: [...states], limit: LIMITS.listMax });
  for (const { id } of tasks) await cancelOne(client, id);
  if (tasks.length === LIMITS.listMax) await cancelProbes(client, drill);
}

/** It may end while it is asked to. */
async function cancelOne(client: Client, id: TaskId): Promise<void> {
  try {
    await client.cancel({ id });
  } catch (error) {
    if (failureOf(error).code === "state_conflict" || TERMINAL.has((await client.getTask({ id })).state)) return;
    throw error;
  }
}
