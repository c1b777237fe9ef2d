/**
 * Cancels, retries or answers many tasks in one call. The tasks are found in the store page by page, and each page is
 * changed in a turn of its own, with the commit that every turn has.
 *
 * N1. Nobody waits long: a turn changes at most one page, between two pages everything else has its turn, and a call
 *     ends after so many tasks or pages with a cursor.
 * N2. Each task is looked at again in the turn: one that no longer meets the states asked for is refused, not changed.
 * N3. What was committed stays, and is reported, also when a later page could not be.
 * N4. With `only`, tasks of other users are refused and reported; in a dry run too, which then tells what would become of each.
 */
import type { BulkReport } from "@openclaw-cluster/contract/bulk";
import { ClusterError } from "@openclaw-cluster/contract/errors";
import { taskId } from "@openclaw-cluster/contract/ids";
import { LIMITS } from "@openclaw-cluster/contract/limits";
import type { TaskState } from "@openclaw-cluster/contract/task";
import { answer, cancel, retryByHand } from "../core/settle.ts";
import type { TaskRecord } from "../core/task.ts";
import { notYours } from "../core/visibility.ts";
import { changeTask, type Decide } from "./changes.ts";
import type { Asker, BulkOrder } from "./coordinator.ts";
import { findTasks } from "./finding.ts";
import type { Lead } from "./lead.ts";

/** Pages of one call. Most come back short, or empty, where few of many tasks meet the filter: 40 are 200,000 rows. */
const PAGES_MAX = 40;

/** What each action can be done to. */
const STATES: Readonly<Record<BulkOrder["act"]["kind"], readonly TaskState[]>> = {
  cancel: ["scheduled", "queued", "leased", "running", "waiting"],
  retry: ["failed", "cancelled"],
  answer: ["waiting"],
};

type Report = { -readonly [Field in keyof BulkReport]: BulkReport[Field] };

export class BulkDesk {
  private readonly lead: Lead;

  constructor(lead: Lead) {
    this.lead = lead;
  }

  async carryOut(order: BulkOrder, by?: Asker): Promise<BulkReport> {
    const states = statesOf(order);
    const { clock, store } = this.lead.parts;
    const report: Report = { matched: 0, changed: 0, refused: 0, refusals: [] };
    let { before } = order;
    for (let pages = 0; pages < PAGES_MAX && report.matched < LIMITS.bulkTasksMax; pages++) {
      const place = { limit: LIMITS.listMax, ...(before !== undefined && { before }) };
      const { tasks, next } = await findTasks(store, { ...order.filter, states }, place);
      try {
        const refused = tasks.filter((task) => !mayChange(order, task)).map(notChanged);
        const allowed = refused.length === 0 ? tasks : tasks.filter((task) => mayChange(order, task));
        if (order.dryRun !== true && allowed.length > 0) {
          const late = await this.lead.turn.run(() => this.change(allowed, states, order, by));
          report.changed += allowed.length - late.length;
          refused.push(...late);
        }
        report.refused += refused.length;
        report.refusals = [...report.refusals, ...refused].slice(0, LIMITS.bulkRefusalsShown);
      } catch (error) {
        // N3: whoever goes on from here meets the error itself.
        if (before === undefined || report.changed === 0 || !(error instanceof ClusterError)) throw error;
        return { ...report, next: before };
      }
      report.matched += tasks.length;
      if (next === undefined) return report;
      before = next;
      await new Promise<void>((resolve) => clock.soon(resolve));
    }
    return before === undefined ? report : { ...report, next: before };
  }

  /** In the turn; throws nothing. Gives those that were refused. */
  private change(tasks: readonly TaskRecord[], states: readonly TaskState[], order: BulkOrder, by?: Asker): BulkReport["refusals"] {
    const decide = decideOf(order);
    const asked: Decide = (task, now) => (states.includes(task.state) ? decide(task, now) : undefined);
    const refused: BulkReport["refusals"] = [];
    let foreign = 0;
    for (const stored of tasks) {
      const outcome = changeTask(this.lead.state, stored, asked);
      if (outcome instanceof ClusterError) refused.push({ id: taskId(stored.key), code: outcome.code, detail: outcome.detail });
      else if (outcome.owner !== by?.user) foreign += 1;
    }
    if (by !== undefined && foreign > 0)
      this.lead.audit.note(by.actor, "task.changed", `${order.act.kind} ${foreign} tasks of others at once`);
    return refused;
  }
}

const mayChange = ({ only }: BulkOrder, { owner }: TaskRecord): boolean => only === undefined || owner === only;

function notChanged({ key, owner }: TaskRecord): BulkReport["refusals"][number] {
  const { code, detail } = notYours(taskId(key), owner);
  return { id: taskId(key), code, detail };
}

function statesOf({ filter, act }: BulkOrder): readonly TaskState[] {
  const possible = STATES[act.kind];
  const states = filter.states?.filter((state) => possible.includes(state)) ?? possible;
  if (states.length > 0) return states;
  throw new ClusterError("bad_request", `${act.kind} can be done to tasks that are ${possible.join(", ")}.`);
}

function decideOf({ act }: BulkOrder): Decide {
  switch (act.kind) {
    case "cancel":
      return cancel;
    case "retry":
      return retryByHand;
    case "answer":
      return (task, now) => answer(task, act.decision, now);
  }
}
