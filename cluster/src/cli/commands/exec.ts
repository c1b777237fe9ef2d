/** `exec -- argv…`: a command on the best machine; prints what it prints and ends as it ended. */
import type { Command } from "commander";
import { examples, type Act } from "../command.ts";
import { INTERRUPTED, stayWith } from "../follow.ts";
import type { Session } from "../session.ts";
import { commandSpec, takeCommand, type CommandOptions } from "../spec.ts";
import { endLine, exitOf } from "../task-view.ts";
import { remark } from "../terminal.ts";

interface Options extends CommandOptions {
  readonly detach?: true;
}

export function configure(command: Command, act: Act): void {
  takeCommand(command).option("--detach", "print the task's id and leave");
  examples(command, "exec -- uname -a", "exec --on studio -- ffmpeg -i in.mov out.mp4", "exec --on gpu=yes --detach -- python3 train.py")
    .addHelpText("after", "\nA node runs only what its own policy.yaml allows; exit code 1 when the command failed.")
    .action(act(exec));
}

async function exec(session: Session, options: Options, argv: string[]): Promise<number> {
  const spec = commandSpec(argv, options);
  const client = await session.client();
  const submitted = await client.submit(spec);
  const { id } = submitted;
  if (options.detach === true) {
    session.show(submitted, () => `${id}\n`);
    return 0;
  }
  const task = await stayWith(session, id, { output: !session.json });
  if (task === undefined) return INTERRUPTED;
  if (session.json) session.show(task, () => "");
  // A command's output speaks for itself; how it ended is told where a person watches or something went wrong.
  else if (exitOf(task) !== 0 || session.terminal.columns !== undefined) remark(session.terminal, endLine(task, Date.now()));
  return exitOf(task);
}
