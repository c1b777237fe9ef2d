/** `why <task>`: the scheduler's reasons. */
import type { Command } from "commander";
import { examples, type Act } from "../command.ts";
import { explanationText } from "../explanation-view.ts";
import { readTaskId } from "../ids.ts";
import type { Session } from "../session.ts";

export function configure(command: Command, act: Act): void {
  examples(command.argument("<task>", "t42 or 42"), "why t42").action(act(why));
}

async function why(session: Session, _options: object, text: string): Promise<void> {
  const id = readTaskId(text);
  const client = await session.client();
  const explanation = await client.why({ id });
  session.show(explanation, () => explanationText(session.terminal, explanation));
}
