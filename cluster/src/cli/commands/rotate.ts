/** `rotate`: another key for this machine. The cluster takes it in one step, and the daemon goes on with it by itself. */
import type { Command } from "commander";
import { openMember } from "../../compose/member.ts";
import { armFailpoint } from "../../system/failpoint.ts";
import { examples, type Act } from "../command.ts";
import { openTrusted, type Session } from "../session.ts";

export function configure(command: Command, act: Act): void {
  examples(command, "rotate", "rotate --home ~/second")
    .addHelpText(
      "after",
      "\nBoth keys sign the exchange; the old one opens nothing afterwards. A daemon that runs reconnects with the new key, and nothing that\n" +
        "it does is disturbed. If this is cut short, either key still opens the door; the same command again ends it.",
    )
    .action(act(rotate));
}

async function rotate(session: Session): Promise<void> {
  const { home, terminal } = session;
  armFailpoint(terminal.env);
  const member = await openMember({ home, env: terminal.env, connect: openTrusted });
  const { node } = member.session;
  try {
    await member.rotate();
  } finally {
    await member.close();
  }
  session.show({ ok: true, node }, () => `${node} has another key; the old one opens nothing any more\n`);
}
