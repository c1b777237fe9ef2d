/**
 * Stands behind the workers' own timers: an attempt that its node holds far beyond its time is ended here, so that
 * nothing runs for ever because one worker's timer is stuck.
 *
 * U1. Time is what this coordinator has watched, by its monotonic clock: no wall clock that jumps, no node's clock that
 *     is wrong and no pause of this process can end an attempt. A coordinator that restarts watches anew.
 * U2. It costs the attempts that are held, now and then, and nothing for each task.
 */
import { taskId } from "@openclaw-cluster/contract/ids";
import { overrun } from "../core/settle.ts";
import { overrunMsOf } from "../core/timeouts.ts";
import type { State } from "./state.ts";

const LOOK_MS = 30_000;

interface Watched {
  readonly attempt: number;
  readonly ms: number;
}

export class Overruns {
  private watched = new Map<number, Watched>();
  private lookedAt: number | undefined;

  /** In the turn, as often as one likes. */
  look(state: State): void {
    const now = state.clock.monotonic();
    const sinceMs = this.lookedAt === undefined ? 0 : now - this.lookedAt;
    if (this.lookedAt !== undefined && sinceMs < LOOK_MS) return;
    this.lookedAt = now;
    const stepMs = Math.min(sinceMs, 2 * LOOK_MS);
    const watched = new Map<number, Watched>();
    for (const { row } of state.registry.all()) {
      for (const key of [...state.ledger.leasesOf(row.id)]) {
        const task = state.ledger.get(key);
        if (task?.lease === undefined) continue;
        const before = this.watched.get(key);
        const ms = before?.attempt === task.attempt ? before.ms + stepMs : 0;
        if (ms <= overrunMsOf(task.spec)) {
          watched.set(key, { attempt: task.attempt, ms });
          continue;
        }
        state.log.warn({ task: taskId(key), node: row.id, attempt: task.attempt }, "an attempt was ended that its node does not end");
        state.outgoing.cancel(row.id, { task: taskId(key), attempt: task.attempt, epoch: task.lease.epoch });
        state.ledger.write(task, overrun(task, state.clock.wall(), state.random()));
      }
    }
    this.watched = watched;
  }
}
