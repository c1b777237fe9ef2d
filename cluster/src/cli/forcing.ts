/** `promote --force`: what it costs is said before anything happens, and the machine's name is asked for. */
import { ClusterError } from "@openclaw-cluster/contract/errors";
import { taskId } from "@openclaw-cluster/contract/ids";
import type { Session } from "./session.ts";
import { remark } from "./terminal.ts";

const WARNING =
  "This machine goes on alone with what it has heard. Before you go on, know:\n" +
  "- What the lost machines accepted last and this one had not heard is gone: tasks, and who was let in or shut out.\n" +
  "- A task whose last placement it had not heard can run a second time, whatever its onLost says.\n" +
  "- None of the lost machines may come back as it was. One that finds this machine does not start; one that does not find it leads\n" +
  "  a cluster of its own, and both run the same tasks. Wipe it, or on it: openclaw-cluster demote --here\n";

/** The exit code. */
export async function forceHere(session: Session, isSure: boolean): Promise<number> {
  const { home, terminal } = session;
  const { checkMayLeadAlone, leadAlone } = await import("../compose/alone.ts");
  const here = { home, env: terminal.env };
  const node = await checkMayLeadAlone(here);
  remark(terminal, WARNING.trimEnd());
  if (!isSure) {
    const said = await terminal.ask(`Type this machine's name, ${node}, to go on: `);
    if (said === undefined) throw new ClusterError("usage", "this must be confirmed: say --yes where nobody can be asked");
    if (said.trim() !== node) throw new ClusterError("usage", `that is not ${node}; nothing was changed`);
  }
  const { epoch, lastKey, lost, setAside } = await leadAlone(here, (text) => remark(terminal, text));
  const document = { ok: true, node, lost, epoch: epoch + 1, lastKey, ...(setAside !== undefined && { setAside }) };
  session.show(document, () =>
    [
      `${node} leads alone from its next start on, in term ${epoch + 1}; new tasks come after ${taskId(lastKey)}`,
      ...(lost.length === 0 ? [] : [`no control nodes any more: ${lost.join(", ")}`]),
      ...(setAside === undefined ? [] : [`etcd's data as it was: ${setAside}`]),
      `Start it: ${session.typed("start")}\n`,
    ].join("\n"),
  );
  return 0;
}
