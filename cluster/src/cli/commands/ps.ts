/** `ps`: tasks, newest first. */
import type { TaskFilter, TaskPage } from "@openclaw-cluster/contract/operations";
import { LIMITS } from "@openclaw-cluster/contract/limits";
import type { Task } from "@openclaw-cluster/contract/task";
import type { Command } from "commander";
import { filterOptions, readFilter, type BulkOptions } from "../bulk.ts";
import { examples, type Act } from "../command.ts";
import { readCount } from "../ids.ts";
import { refresh } from "../refresh.ts";
import type { Session } from "../session.ts";
import { askingLine, taskTable } from "../task-view.ts";
import { remark } from "../terminal.ts";

interface Options extends Omit<BulkOptions, "all"> {
  readonly limit: string;
  readonly all?: true;
  readonly watch?: true;
}

/** With --all; what is older can be had page by page from the API. */
const TASKS_MAX = 100_000;

/** Tasks that wait for a person and are told with their command. */
const ASKING_MAX = 5;

export function configure(command: Command, act: Act): void {
  filterOptions(command)
    .option("--limit <n>", "how many", "20")
    .option("--all", "all of them")
    .option("--watch", "show the list again each second, until Ctrl-C");
  examples(command, "ps", "ps --state queued --state running --watch", "ps --mine", "ps --dead", "ps --node studio --json").action(act(ps));
}

async function ps(session: Session, options: Options): Promise<number> {
  const filter: TaskFilter = readFilter(options);
  const limit = options.all === true ? TASKS_MAX : readCount(options.limit, "--limit", TASKS_MAX);
  if (options.watch === true) return refresh(session, async () => listText(session, await list(session, filter, limit)));
  const page = await list(session, filter, limit);
  session.show(page, () => listText(session, page));
  const asking = session.json ? [] : page.tasks.filter(({ state, hidden }) => state === "waiting" && hidden !== true);
  for (const task of asking.slice(0, ASKING_MAX)) remark(session.terminal, askingLine(task, session.typed));
  if (asking.length > ASKING_MAX) remark(session.terminal, `${asking.length - ASKING_MAX} more of them wait for a person`);
  if (!session.json && page.next !== undefined) remark(session.terminal, "there are older ones: --limit or --all");
  return 0;
}

function listText({ terminal }: Session, { tasks }: TaskPage): string {
  return tasks.length === 0 ? "no tasks\n" : taskTable(terminal, tasks, Date.now());
}

/** Page after page until there are enough. */
async function list(session: Session, filter: TaskFilter, limit: number): Promise<TaskPage> {
  const client = await session.client();
  const tasks: Task[] = [];
  let cursor: number | undefined;
  do {
    const page = await client.listTasks({
      ...filter,
      ...(cursor !== undefined && { cursor }),
      limit: Math.min(limit - tasks.length, LIMITS.listMax),
    });
    tasks.push(...page.tasks);
    cursor = page.next;
  } while (cursor !== undefined && tasks.length < limit);
  return { tasks, ...(cursor !== undefined && { next: cursor }) };
}
