/** `dead`: what failed for good, gathered by what it failed of, with the command that runs a group again. */
import type { DeadGroup, DeadPage } from "@openclaw-cluster/contract/bulk";
import type { Command } from "commander";
import { examples, type Act } from "../command.ts";
import type { Session } from "../session.ts";
import { table } from "../table.ts";
import { remark } from "../terminal.ts";
import { age } from "../time.ts";

export function configure(command: Command, act: Act): void {
  examples(command, "dead", "ps --dead --alike command_failed-e1bd84a0", "retry --dead --alike command_failed-e1bd84a0").action(act(dead));
}

async function dead(session: Session): Promise<void> {
  const client = await session.client();
  const page = await client.deadLetters();
  session.show(page, () => text(session, page));
  const [largest] = page.groups;
  if (session.json || largest === undefined) return;
  if (page.next !== undefined) remark(session.terminal, `these are the newest ${page.tasks}; older ones: ps --dead --all`);
  remark(session.terminal, `run a group again: ${session.typed(`retry --dead --alike ${largest.alike}`)}`);
}

function text({ terminal }: Session, { groups }: DeadPage): string {
  if (groups.length === 0) return "no dead letters\n";
  const now = Date.now();
  return table<DeadGroup>(terminal, groups, [
    { title: "TASKS", value: ({ count }) => String(count), right: true },
    { title: "FAILED ALIKE", value: ({ alike }) => alike, style: () => "red" },
    { title: "LAST", value: ({ lastEndedAt }) => age(lastEndedAt, now), right: true },
    { title: "AS", value: ({ examples: ids, count }) => ids.slice(0, 3).join(" ") + (count > 3 ? " …" : "") },
    { title: "ON", value: ({ nodes }) => nodes.join(" ") },
    { title: "BECAUSE", value: ({ what }) => what, cut: true },
  ]);
}
