/** `logs <task>`: what a task printed. `logs` alone: what the daemon of this home wrote to its log. */
import type { Command } from "commander";
import { examples, type Act } from "../command.ts";
import { daemonLines } from "../daemon-log.ts";
import { INTERRUPTED, printOutput } from "../follow.ts";
import { readCount, readTaskId } from "../ids.ts";
import type { Session } from "../session.ts";

interface Options {
  readonly follow?: true;
  readonly lines: string;
  readonly attempt?: string;
}

const LINES_MAX = 100_000;
const ATTEMPT_MAX = 1_000_000;

export function configure(command: Command, act: Act): void {
  command
    .argument("[task]", "t42 or 42; without it, the daemon's own log")
    .option("-f, --follow", "go on: until the task ends, or until Ctrl-C")
    .option("--attempt <n>", "only this attempt of the task")
    .option("-n, --lines <n>", "how many last lines of the daemon's log", "50");
  examples(command, "logs t42 -f", "logs t42 --attempt 1", "logs -f").action(act(logs));
}

async function logs(session: Session, options: Options, text: string | undefined): Promise<number> {
  const id = text === undefined ? undefined : readTaskId(text);
  const follow = options.follow === true;
  const leave = new AbortController();
  const interrupt = session.terminal.onInterrupt(() => leave.abort());
  try {
    if (id === undefined) {
      await daemonLines(session, { follow, last: readCount(options.lines, "--lines", LINES_MAX), signal: leave.signal });
    } else {
      const attempt = options.attempt === undefined ? {} : { attempt: readCount(options.attempt, "--attempt", ATTEMPT_MAX) };
      const client = await session.client();
      await printOutput(session, client, id, leave.signal, { follow, ...attempt });
    }
    return leave.signal.aborted ? INTERRUPTED : 0;
  } finally {
    interrupt.stop();
  }
}
