/** `retry <task…>`: failed or cancelled tasks run again, each as a new attempt. Or all that a filter finds. */
import type { Command } from "commander";
import { bulkOptions } from "../bulk.ts";
import { examples, type Act } from "../command.ts";
import { actOnTasks } from "../many.ts";

export function configure(command: Command, act: Act): void {
  bulkOptions(command.argument("[tasks...]", "t42 or 42"));
  examples(command, "retry t42", "retry --dead --alike command_failed-e1bd84a0", "retry --dead --node studio --yes").action(
    act(actOnTasks({ action: "retry", done: "run again", one: (client, id) => client.retry({ id }) })),
  );
}
