/** `submit -f file`: tasks from a file or a pipe, as one array. */
import type { Submitted } from "@openclaw-cluster/contract/task";
import type { Command } from "commander";
import { examples, type Act } from "../command.ts";
import { INTERRUPTED } from "../follow.ts";
import type { Session } from "../session.ts";
import { readSpecs, takeFile } from "../spec.ts";
import { waitForAll } from "../wait.ts";

export function configure(command: Command, act: Act): void {
  takeFile(command).option("--wait", "wait until all are done; exit code 1 unless all succeeded");
  examples(command, "submit -f task.json", "submit -f tasks.jsonl --wait", "submit -f - < tasks.jsonl").action(act(submit));
}

async function submit(session: Session, options: { file: string; wait?: true }): Promise<number> {
  const specs = await readSpecs(session, options.file);
  const client = await session.client();
  const submitted: readonly Submitted[] = await client.submitMany(specs);
  if (options.wait !== true) {
    session.show({ tasks: submitted }, () => submitted.map(({ id }) => `${id}\n`).join(""));
    return 0;
  }
  const tasks = await waitForAll(
    session,
    submitted.map(({ id }) => id),
  );
  if (tasks === undefined) return INTERRUPTED;
  const succeeded = tasks.filter((task) => task.state === "succeeded").length;
  session.show({ tasks }, () => `${tasks.map((task) => `${task.id} ${task.state}\n`).join("")}`);
  return succeeded === tasks.length ? 0 : 1;
}
