/** `run "<words>"`: a turn of an OpenClaw agent, on the best machine. */
import type { Command } from "commander";
import { examples, type Act } from "../command.ts";
import { INTERRUPTED, stayWith } from "../follow.ts";
import type { Session } from "../session.ts";
import { agentSpec, takeAgent, type AgentOptions } from "../spec.ts";
import { endLine, exitOf, resultText } from "../task-view.ts";
import { remark } from "../terminal.ts";

interface Options extends AgentOptions {
  readonly follow?: true;
  readonly wait?: true;
}

export function configure(command: Command, act: Act): void {
  takeAgent(command)
    .option("-f, --follow", "print the agent's words as they come, until it is done")
    .option("--wait", "print the answer when it is done");
  examples(
    command,
    'run "Summarise today\'s news" --follow',
    'run "What is in ~/notes?" --on studio --wait',
    'run "Render the film" --on gpu=yes --priority high',
  ).action(act(run));
}

async function run(session: Session, options: Options, words: string): Promise<number> {
  const spec = agentSpec(words, options);
  const client = await session.client();
  const submitted = await client.submit(spec);
  const { id } = submitted;
  if (options.follow !== true && options.wait !== true) {
    session.show(submitted, () => `${id}\n`);
    if (!session.json) remark(session.terminal, `follow it: ${session.typed(`logs ${id} -f`)}`);
    return 0;
  }
  const follow = options.follow === true;
  const task = await stayWith(session, id, { output: follow });
  if (task === undefined) return INTERRUPTED;
  if (session.json) session.terminal.out(`${JSON.stringify(task, null, follow ? 0 : 2)}\n`);
  else {
    if (!follow && task.result !== undefined) session.terminal.out(`${resultText(task.result)}\n`);
    remark(session.terminal, endLine(task, Date.now()));
  }
  return exitOf(task);
}
