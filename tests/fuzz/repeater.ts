/** An agent that prints what it was told and says it again at its end: so that words of others' go every way that a task's words go. */
import type { Executor } from "../../cluster/src/executors/executors.ts";

export const repeater: Executor<"agent"> = {
  kind: "agent",
  resumable: true,
  async run({ input: { message, session } }, execution) {
    execution.acted();
    execution.progress({ text: message.slice(0, 256) });
    await execution.output("assistant", message, { session: session ?? null });
    return { kind: "succeeded", result: message };
  },
};
