/** `cancel <task…>`: each by itself; one that cannot be cancelled does not keep the others. */
import type { Task } from "@openclaw-cluster/contract/task";
import type { Command } from "commander";
import { examples, type Act } from "../command.ts";
import { failureOf, tellFailure } from "../failure.ts";
import { readTaskId } from "../ids.ts";
import type { Session } from "../session.ts";

export function configure(command: Command, act: Act): void {
  examples(command.argument("<tasks...>", "t42 or 42"), "cancel t42", "cancel 42 43 44").action(act(cancel));
}

async function cancel(session: Session, _options: object, texts: string[]): Promise<number> {
  const ids = texts.map(readTaskId);
  const client = await session.client();
  const tasks: Task[] = [];
  const refused: { task: string; code: string; detail: string; hint: string }[] = [];
  for (const id of ids) {
    try {
      tasks.push(await client.cancel({ id }));
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
