/** `backup`: a copy of the coordinator's database, made while it works. */
import type { Command } from "commander";
import { backupTable, size } from "../backup-view.ts";
import { examples, type Act } from "../command.ts";
import type { Session } from "../session.ts";

export function configure(command: Command, act: Act): void {
  examples(command, "backup", "backup list", "restore <name>").addHelpText(
    "after",
    "\nThe coordinator writes it into its own folder of backups, under a name of its own choice, and also does so by itself each day\n" +
      "(backup.everyHours, backup.keep, backup.folder). Copy it to another machine: a backup beside the original dies with its disk.",
  );
  examples(command.command("take", { isDefault: true }).summary("take one now (also without a word)"), "backup take --json").action(
    act(take),
  );
  examples(command.command("list").summary("list those that are there, newest first"), "backup list").action(act(list));
}

async function take(session: Session): Promise<void> {
  const client = await session.client();
  const backup = await client.backup();
  session.show(backup, () => `${backup.path}\n${backup.tasks} tasks, ${size(backup.bytes)}\n`);
}

async function list(session: Session): Promise<void> {
  const client = await session.client();
  const { backups } = await client.backups();
  session.show({ backups }, () => (backups.length === 0 ? "no backups\n" : backupTable(session.terminal, backups, Date.now())));
}
