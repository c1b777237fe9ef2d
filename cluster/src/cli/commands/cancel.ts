/** `cancel <task…>`: each by itself; one that cannot be cancelled does not keep the others. Or all that a filter finds. */
import type { Command } from "commander";
import { bulkOptions } from "../bulk.ts";
import { examples, type Act } from "../command.ts";
import { actOnTasks } from "../many.ts";

export function configure(command: Command, act: Act): void {
  bulkOptions(command.argument("[tasks...]", "t42 or 42"));
  examples(command, "cancel t42", "cancel 42 43 44", "cancel --state queued --label batch=x --dry-run").action(
    act(actOnTasks({ action: "cancel", done: "cancelled", one: (client, id) => client.cancel({ id }) })),
  );
}
