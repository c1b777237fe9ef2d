/** What `cancel` and `retry` share: tasks by their names, each by itself, or all that a filter finds. */
import type { Client } from "@openclaw-cluster/contract/client/client";
import { ClusterError } from "@openclaw-cluster/contract/errors";
import type { TaskId } from "@openclaw-cluster/contract/ids";
import type { Task } from "@openclaw-cluster/contract/task";
import { carryOut, readBulkFilter, type BulkOptions } from "./bulk.ts";
import { failureOf, tellFailure } from "./failure.ts";
import { readTaskId } from "./ids.ts";
import type { Session } from "./session.ts";

interface Doing {
  readonly action: "cancel" | "retry";
  /** What has become of the tasks then. */
  readonly done: string;
  one(client: Client, id: TaskId): Promise<Task>;
}

export function actOnTasks({ action, done, one }: Doing) {
  return async (session: Session, options: BulkOptions, texts: string[]): Promise<number> => {
    const filter = readBulkFilter(options);
    if (filter === undefined && texts.length === 0) throw new ClusterError("usage", `name tasks to ${action}, a filter, or --all`);
    if (filter === undefined) return each(session, texts, one);
    if (texts.length > 0) throw new ClusterError("usage", "name tasks or a filter, not both");
    return carryOut(session, { action }, filter, { ...options, done });
  };
}

async function each(session: Session, texts: readonly string[], one: Doing["one"]): Promise<number> {
  const ids = texts.map(readTaskId);
  const client = await session.client();
  const tasks: Task[] = [];
  const refused: { task: string; code: string; detail: string; hint: string }[] = [];
  for (const id of ids) {
    try {
      tasks.push(await one(client, id));
    } catch (error) {
      // The only one: its failure is the command's own.
      if (ids.length === 1) throw error;
      const failure = failureOf(error);
      refused.push({ task: id, code: failure.code, detail: failure.detail, hint: failure.hint });
      if (!session.json) tellFailure(session.terminal, false, failure);
    }
  }
  session.show({ ok: refused.length === 0, tasks, refused }, () => tasks.map((task) => `${task.id} ${task.state}\n`).join(""));
  return refused.length === 0 ? 0 : 1;
}
