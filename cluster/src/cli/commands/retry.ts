/** `retry <task>`: a failed or cancelled task runs again, as a new attempt. */
import type { Command } from "commander";
import { examples, type Act } from "../command.ts";
import { readTaskId } from "../ids.ts";
import type { Session } from "../session.ts";

export function configure(command: Command, act: Act): void {
  examples(command.argument("<task>", "t42 or 42"), "retry t42").action(act(retry));
}

async function retry(session: Session, _options: object, text: string): Promise<void> {
  const id = readTaskId(text);
  const client = await session.client();
  const task = await client.retry({ id });
  session.show(task, () => `${task.id} ${task.state}\n`);
}
