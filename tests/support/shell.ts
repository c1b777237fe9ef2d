/** Tasks that are a line of the shell, and what a node's policy must say for them. POSIX only. */
import type { CommandInput, TaskSpec } from "@openclaw-cluster/contract/task-spec";

export const SHELL_POLICY = { allow: { commands: ["sh -c *"] } };

export function shell(script: string, more: Partial<TaskSpec> = {}): TaskSpec {
  const input: CommandInput = { argv: ["sh", "-c", script] };
  return { kind: "command", input, ...more } as TaskSpec;
}
