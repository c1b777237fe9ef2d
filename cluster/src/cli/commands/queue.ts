/** `queue`: what waits, first to be placed first. */
import type { QueueView } from "@openclaw-cluster/contract/cluster";
import { LIMITS } from "@openclaw-cluster/contract/limits";
import type { Command } from "commander";
import { examples, type Act } from "../command.ts";
import { readCount } from "../ids.ts";
import type { Session } from "../session.ts";
import { table } from "../table.ts";
import type { Terminal } from "../terminal.ts";
import { duration } from "../time.ts";

export function configure(command: Command, act: Act): void {
  examples(command.option("--limit <n>", "how many of those that come first", "20"), "queue", "queue --json").action(act(queue));
}

async function queue(session: Session, options: { limit: string }): Promise<void> {
  const limit = readCount(options.limit, "--limit", LIMITS.listMax);
  const client = await session.client();
  const view = await client.queue({ limit });
  session.show(view, () => queueText(session.terminal, view));
}

function queueText(terminal: Terminal, { queued, scheduled, waiting, head }: QueueView): string {
  const isMixed = new Set(head.map(({ owner }) => owner)).size > 1;
  const sums = `${queued} queued, ${scheduled} for later, ${waiting} waiting for a person\n`;
  if (head.length === 0) return sums;
  const rows = table(terminal, head, [
    { title: "ID", value: (entry) => entry.id },
    { title: "OWNER", value: (entry) => (isMixed ? (entry.owner ?? "-") : undefined) },
    { title: "KIND", value: (entry) => entry.kind },
    { title: "PRIORITY", value: (entry) => String(entry.priority), right: true },
    { title: "WAITED", value: (entry) => duration(entry.waitedMs), right: true },
    { title: "FAIRNESS KEY", value: (entry) => entry.fairnessKey },
    { title: "NAME", value: (entry) => entry.name, cut: true },
  ]);
  return `${sums}\n${rows}${queued > head.length ? `and ${queued - head.length} more\n` : ""}`;
}
