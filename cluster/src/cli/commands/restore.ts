/** `restore`: puts a backup in the place of this home's database, while the daemon is stopped. */
import type { Command } from "commander";
import { ClusterError } from "@openclaw-cluster/contract/errors";
import { taskId } from "@openclaw-cluster/contract/ids";
import type { Restored } from "../../compose/restore.ts";
import { backupTable } from "../backup-view.ts";
import { examples, type Act } from "../command.ts";
import type { Session } from "../session.ts";
import { facts } from "../table.ts";
import { remark, type Terminal } from "../terminal.ts";

interface Options {
  readonly dryRun?: boolean;
}

/** A smaller one is copied in the blink of an eye. */
const SHOWN_FROM_BYTES = 64 * 1024 ** 2;

export function configure(command: Command, act: Act): void {
  command
    .argument("[file]", "a backup's name, as `backup list` shows it, or a file's path; without one, those of this home are listed")
    .option("--dry-run", "check it and say what would happen, without changing anything");
  examples(command, "restore", "restore cluster-2026-11-23T03-00-00-000Z.db --dry-run", "restore ~/usb/cluster.db")
    .addHelpText(
      "after",
      "\nStop the daemon first. The present database is set aside, never deleted. Tasks that were open in the backup run again,\n" +
        "or ask, or fail, as their onLost says: whether they ran since is not always known.",
    )
    .action(act(restore));
}

async function restore(session: Session, { dryRun = false }: Options, file: string | undefined): Promise<void> {
  const { home, terminal } = session;
  const { backupsOf, restoreBackup } = await import("../../compose/restore.ts");
  if (file === undefined) {
    const backups = await backupsOf({ home, env: terminal.env });
    if (backups.length === 0) throw new ClusterError("usage", "there are no backups in this home; name a file");
    return session.show({ backups }, () => backupTable(terminal, backups, Date.now()));
  }
  const onProgress = progressOn(terminal);
  const done = await restoreBackup({ home, env: terminal.env, file, dryRun, onProgress });
  session.show({ ok: true, dryRun, ...done }, () => reportText(session, done, dryRun));
}

function reportText(
  session: Session,
  { source, cluster, tasks, open, epoch, lastKey, known, setAside }: Restored,
  dryRun: boolean,
): string {
  const list = facts(session.terminal, [
    ["backup", `${source}, cluster ${cluster}, ${tasks} tasks`],
    ["open in it", `${open.again} run again, ${open.asks} wait for a person, ${open.fails} end as failed or cancelled`],
    ["goes on", `after ${taskId(lastKey)}, in term ${epoch}`],
    [
      "since then",
      known === "exactly"
        ? "known from the database that it replaces: nodes and tokens are as they were last"
        : "not known: numbers leap ahead to be safe; nodes and tokens are as of the backup, take back again what was taken back since",
    ],
    ["set aside", setAside],
  ]);
  return dryRun ? `${list}\nNothing was changed.\n` : `${list}\nRestored. Start it: ${session.typed("start")}\n`;
}

/** On a screen, one line that is written over. */
function progressOn(terminal: Terminal): (done: number, of: number) => void {
  let shown = -1;
  return (done, of) => {
    const percent = Math.floor((done / of) * 100);
    if (terminal.errColumns === undefined || of < SHOWN_FROM_BYTES || percent === shown) return;
    shown = percent;
    if (percent < 100) terminal.err(`\rcopying ${percent} %`);
    else remark(terminal, "\rcopied, now checking");
  };
}
