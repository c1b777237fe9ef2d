/** `answer <task> retry|fail`: a person's decision on a task whose node was lost while it may have acted. */
import { ClusterError } from "@openclaw-cluster/contract/errors";
import type { Command } from "commander";
import { examples, type Act } from "../command.ts";
import { readTaskId } from "../ids.ts";
import type { Session } from "../session.ts";

export function configure(command: Command, act: Act): void {
  command.argument("<task>", "t42 or 42").argument("<decision>", "retry: run it again, what it did may be done twice; fail: give it up");
  examples(command, "answer t42 retry", "answer t42 fail").action(act(answer));
}

async function answer(session: Session, _options: object, text: string, decision: string): Promise<void> {
  const id = readTaskId(text);
  if (decision !== "retry" && decision !== "fail") throw new ClusterError("usage", `not a decision: ${decision}; say retry or fail`);
  const client = await session.client();
  const task = await client.answer({ id, decision });
  session.show(task, () => `${task.id} ${task.state}\n`);
}
