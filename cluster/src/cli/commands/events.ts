/** `events`: everything that changes, as it changes. */
import type { ClusterEvent } from "@openclaw-cluster/contract/events";
import type { Command } from "commander";
import { examples, type Act } from "../command.ts";
import { INTERRUPTED } from "../follow.ts";
import { readCount, readTaskId } from "../ids.ts";
import type { Session } from "../session.ts";
import { errorText, stateStyle } from "../task-view.ts";
import { paint, plainLine, type Terminal } from "../terminal.ts";
import { clockTime } from "../time.ts";

interface Options {
  readonly task?: string;
  readonly limit?: string;
}

const EVENTS_MAX = 1_000_000_000;

export function configure(command: Command, act: Act): void {
  command
    .option("-f, --follow", "go on until Ctrl-C; it does so anyway unless --limit says otherwise")
    .option("--task <task>", "only those of this task")
    .option("--limit <n>", "end after so many");
  examples(command, "events", "events --task t42 --json", "events --limit 1").action(act(events));
}

async function events(session: Session, options: Options): Promise<number> {
  const limit = options.limit === undefined ? Infinity : readCount(options.limit, "--limit", EVENTS_MAX);
  const task = options.task === undefined ? undefined : readTaskId(options.task);
  const client = await session.client();
  const leave = new AbortController();
  const interrupt = session.terminal.onInterrupt(() => leave.abort());
  let count = 0;
  try {
    for await (const event of client.events({ ...(task !== undefined && { task }), signal: leave.signal })) {
      session.terminal.out(session.json ? `${JSON.stringify(event)}\n` : `${eventLine(session.terminal, event)}\n`);
      count += 1;
      if (count >= limit) return 0;
    }
  } catch (error) {
    if (!leave.signal.aborted) throw error;
  } finally {
    interrupt.stop();
  }
  return leave.signal.aborted ? INTERRUPTED : 0;
}

function eventLine(terminal: Terminal, event: ClusterEvent): string {
  const time = paint(terminal, "dim", clockTime(event.at));
  switch (event.type) {
    case "task": {
      const style = stateStyle(event.state);
      const state = style === undefined ? event.state : paint(terminal, style, event.state);
      const error = event.error === undefined ? "" : `: ${errorText(event.error)}`;
      return `${time} ${event.task} ${state}${event.node === undefined ? "" : ` on ${event.node}`} (${event.reason})${error}`;
    }
    case "progress": {
      const share = event.progress.fraction === undefined ? "" : ` ${Math.round(event.progress.fraction * 100)} %`;
      return `${time} ${event.task} progress${share} ${plainLine(event.progress.text ?? "")}`.trimEnd();
    }
    case "node":
      return `${time} node ${event.node} ${event.state}${event.draining ? ", draining" : ""}`;
    case "gap":
      return `${time} some events are missing here`;
  }
}
