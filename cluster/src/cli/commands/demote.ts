/** `demote <node>`: a control node is a worker again; or, if its machine is gone for good, is out of the list. */
import type { Command } from "commander";
import { examples, type Act } from "../command.ts";
import { readNodeId } from "../ids.ts";
import type { Session } from "../session.ts";

export function configure(command: Command, act: Act): void {
  command.argument("<node>");
  examples(command, "demote nas")
    .addHelpText("after", "\nOne that leads hands over first. To replace a dead control node: demote it, then promote another.")
    .action(act(demote));
}

async function demote(session: Session, _options: object, text: string): Promise<void> {
  const id = readNodeId(text);
  const client = await session.client();
  const node = await client.demoteNode({ id });
  session.show(node, () => `${id} is no control node any more\n`);
}
