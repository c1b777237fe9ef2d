/** `plan run|exec|submit`: the same words as the command itself, but nothing is made; says where it would run. */
import type { TaskSpec } from "@openclaw-cluster/contract/task-spec";
import type { Command } from "commander";
import { examples, type Act } from "../command.ts";
import { explanationText } from "../explanation-view.ts";
import type { Session } from "../session.ts";
import { agentSpec, commandSpec, readSpecs, takeAgent, takeCommand, takeFile, type AgentOptions, type CommandOptions } from "../spec.ts";

export function configure(command: Command, act: Act): void {
  examples(command, 'plan run "Render the film" --on gpu=yes', "plan exec -- uname -a", "plan submit -f tasks.jsonl").addHelpText(
    "after",
    "\nExit code 1 when no node would take a task now.",
  );
  examples(takeAgent(command.command("run").summary("plan an agent's turn")), 'plan run "Render the film" --on gpu=yes').action(
    act((session, options: AgentOptions, words: string) => plan(session, [agentSpec(words, options)])),
  );
  examples(takeCommand(command.command("exec").summary("plan a command")), "plan exec -- uname -a").action(
    act((session, options: CommandOptions, argv: string[]) => plan(session, [commandSpec(argv, options)])),
  );
  examples(takeFile(command.command("submit").summary("plan tasks from a file")), "plan submit -f tasks.jsonl").action(
    act(async (session, options: { file: string }) => plan(session, await readSpecs(session, options.file))),
  );
}

async function plan(session: Session, specs: readonly TaskSpec[]): Promise<number> {
  const client = await session.client();
  const plans = await client.plan(specs);
  session.show({ plans }, () => plans.map((explanation) => explanationText(session.terminal, explanation)).join("\n"));
  return plans.every(({ node }) => node !== undefined) ? 0 : 1;
}
