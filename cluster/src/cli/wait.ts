/** Waits for many tasks at once, a few requests at a time. */
import type { TaskId } from "@openclaw-cluster/contract/ids";
import type { Task } from "@openclaw-cluster/contract/task";
import type { Session } from "./session.ts";
import { isOver } from "./task-view.ts";
import { remark } from "./terminal.ts";

/** Waiting requests that stand open together; most tasks are over when their turn comes. */
const ASKED_AT_ONCE = 8;
const LOOK_S = 20;

export interface Watch {
  /** Called for each, in no order. */
  over?(task: Task): void;
  /** What is said when the person goes away first. */
  left(): string;
}

/** In the order of the ids; undefined when the person went away first. */
export async function waitForAll(session: Session, ids: readonly TaskId[], watch?: Watch): Promise<Task[] | undefined> {
  const client = await session.client();
  const leave = new AbortController();
  const interrupt = session.terminal.onInterrupt(() => leave.abort());
  const tasks: Task[] = [];
  let next = 0;
  const takeTurns = async (): Promise<void> => {
    for (let at = next++; at < ids.length; at = next++) {
      const id = ids[at] as TaskId;
      let task = await client.getTask({ id, wait: LOOK_S }, { signal: leave.signal });
      while (!isOver(task)) task = await client.getTask({ id, wait: LOOK_S }, { signal: leave.signal });
      tasks[at] = task;
      watch?.over?.(task);
    }
  };
  try {
    await Promise.all(Array.from({ length: ASKED_AT_ONCE }, takeTurns));
    return tasks;
  } catch (error) {
    if (!leave.signal.aborted) throw error;
    remark(session.terminal, `\n${watch?.left() ?? `left ${ids.length} tasks running; see them: ${session.typed("ps")}`}`);
    return undefined;
  } finally {
    leave.abort();
    interrupt.stop();
  }
}
