/**
 * `answer <task> retry|fail`: a person's decision on a task whose node was lost while it may have acted.
 * `answer retry|fail` with a filter: on all of those that the filter finds.
 */
import { ClusterError } from "@openclaw-cluster/contract/errors";
import type { Command } from "commander";
import { bulkOptions, carryOut, readBulkFilter, type BulkOptions } from "../bulk.ts";
import { examples, type Act } from "../command.ts";
import { readTaskId } from "../ids.ts";
import type { Session } from "../session.ts";

const DONE = { retry: "run again", fail: "given up" } as const;

export function configure(command: Command, act: Act): void {
  command
    .argument("[task]", "t42 or 42; none with a filter")
    .argument("[decision]", "retry: run it again, what it did may be done twice; fail: give it up");
  bulkOptions(command);
  examples(command, "answer t42 retry", "answer t42 fail", "answer fail --label batch=x").action(act(answer));
}

async function answer(session: Session, options: BulkOptions, first: string | undefined, second: string | undefined): Promise<number> {
  const filter = readBulkFilter(options);
  if (filter !== undefined) {
    if (second !== undefined) throw new ClusterError("usage", "name a task or a filter, not both");
    const decision = readDecision(first);
    return carryOut(session, { action: "answer", decision }, filter, { ...options, done: DONE[decision] });
  }
  if (first === undefined) throw new ClusterError("usage", "name the task that waits, a filter, or --all");
  const id = readTaskId(first);
  const decision = readDecision(second);
  const client = await session.client();
  const task = await client.answer({ id, decision });
  session.show(task, () => `${task.id} ${task.state}\n`);
  return 0;
}

function readDecision(text: string | undefined): "retry" | "fail" {
  if (text === "retry" || text === "fail") return text;
  throw new ClusterError("usage", `not a decision: ${text ?? "none"}; say retry or fail`);
}
