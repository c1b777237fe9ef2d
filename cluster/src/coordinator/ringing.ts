/** Alarms of tasks, as they become due: what core decides, written and told to the node that held the attempt. */
import { taskId } from "@openclaw-cluster/contract/ids";
import { ring } from "../core/alarms.ts";
import { failpoint } from "../system/failpoint.ts";
import { passOver } from "./reports.ts";
import type { State } from "./state.ts";

/** Alarms of one turn. */
const ALARMS_MAX = 4_096;

export function ringAlarms(state: State): void {
  const { ledger, outgoing, clock } = state;
  const now = clock.wall();
  const due = ledger.alarms.due(now, ALARMS_MAX);
  for (const key of due) {
    const task = ledger.get(key);
    const settled = task && ring(task, now);
    if (task === undefined || settled === undefined) continue;
    ledger.write(task, settled);
    if (task.lease === undefined) continue;
    outgoing.cancel(task.lease.node, { task: taskId(key), attempt: task.attempt, epoch: task.lease.epoch });
    // Else the node that did not start it in time would be the first to be asked again.
    if (settled.ended?.outcome === "refused") passOver(state, task, task.lease.node, now);
  }
  if (due.length > 0) failpoint("alarm.applied");
}
