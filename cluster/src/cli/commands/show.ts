/** `show <task>`: everything about one task. */
import type { Command } from "commander";
import { examples, type Act } from "../command.ts";
import { readTaskId } from "../ids.ts";
import type { Session } from "../session.ts";
import { taskFacts } from "../task-view.ts";

export function configure(command: Command, act: Act): void {
  examples(command.argument("<task>", "t42 or 42"), "show t42", "show 42 --json").action(act(show));
}

async function show(session: Session, _options: object, text: string): Promise<void> {
  const id = readTaskId(text);
  const client = await session.client();
  const [task, { attempts }] = await Promise.all([client.getTask({ id }), client.attempts({ id })]);
  session.show({ ...task, attempts }, () => taskFacts(session, task, attempts, Date.now()));
}
