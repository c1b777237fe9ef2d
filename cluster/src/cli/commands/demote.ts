/** `demote <node>`: a control node is a worker again; or, if its machine is gone for good, is out of the list. */
import { ClusterError } from "@openclaw-cluster/contract/errors";
import type { Command } from "commander";
import { examples, type Act } from "../command.ts";
import { readNodeId } from "../ids.ts";
import type { Session } from "../session.ts";

interface Options {
  readonly here?: true;
}

export function configure(command: Command, act: Act): void {
  command.argument("[node]").option("--here", "this machine, whose daemon is stopped: the others have taken it out, or gone on without it");
  examples(command, "demote nas", "demote --here")
    .addHelpText(
      "after",
      "\nOne that leads hands over first. To replace a dead control node: demote it, then promote another. If the dead machine comes back, its\n" +
        "daemon does not start; `demote --here` on it makes it a worker. What only its etcd had is deleted then.",
    )
    .action(act(demote));
}

async function demote(session: Session, { here }: Options, text: string | undefined): Promise<void> {
  if ((text === undefined) !== (here === true)) throw new ClusterError("usage", "name a node, or say --here for this machine");
  if (text === undefined) return demoteThis(session);
  const id = readNodeId(text);
  const client = await session.client();
  const node = await client.demoteNode({ id });
  session.show(node, () => `${id} is no control node any more\n`);
}

async function demoteThis(session: Session): Promise<void> {
  const { home, terminal } = session;
  const { demoteHere } = await import("../../compose/alone.ts");
  const urls = await demoteHere({ home, env: terminal.env });
  session.show({ ok: true, urls }, () => `this machine works for ${urls.join(", ")} now. Start it: ${session.typed("start")}\n`);
}
