/** What a person asks for on the command line, as a task's spec. `run`, `exec`, `submit` and `plan` share it. */
import { readFile } from "node:fs/promises";
import { ClusterError } from "@openclaw-cluster/contract/errors";
import { NodeId } from "@openclaw-cluster/contract/ids";
import { Priority, TaskSpec } from "@openclaw-cluster/contract/task-spec";
import type { Command } from "commander";
import { collect } from "./command.ts";
import { readLabels } from "./ids.ts";
import type { Session } from "./session.ts";

interface CommonOptions {
  readonly on?: readonly string[];
  readonly label?: readonly string[];
  readonly priority?: string;
  readonly name?: string;
}

export interface AgentOptions extends CommonOptions {
  readonly agent?: string;
  readonly session?: string;
  readonly model?: string;
  readonly skill?: string;
}

export type CommandOptions = CommonOptions;

export function takeAgent(command: Command): Command {
  command
    .argument("<words>", "what the agent shall do")
    .option("--agent <name>", "one of the node's OpenClaw agents; its default one unless said")
    .option("--session <name>", "your own conversation of that name on the node; the next turn with it goes on there")
    .option("--model <provider/model>", "a model, as the node's OpenClaw names it")
    .option("--skill <name>", "a skill the turn needs; only nodes that have it are taken");
  return takeCommon(command);
}

export function takeCommand(command: Command): Command {
  command.argument("<command...>", "program and arguments, after --; never a shell string").usage("[options] -- <command...>");
  return takeCommon(command);
}

export function takeFile(command: Command): Command {
  return command.requiredOption("-f, --file <file>", "one task, an array of tasks, or one task in each line (JSON); - reads stdin");
}

function takeCommon(command: Command): Command {
  return command
    .option("--on <node>", "only on this node, or on nodes with this label (gpu=yes); may be repeated", collect)
    .option("--label <name=value>", "file the task under a label; may be repeated", collect)
    .option("--priority <priority>", "critical, high, normal, low, or 0 to 9")
    .option("--name <name>", "a name for people");
}

export function agentSpec(words: string, options: AgentOptions): TaskSpec {
  const { agent, session, model, skill } = options;
  const input = { message: words, ...(agent && { agent }), ...(session && { session }), ...(model && { model }), ...(skill && { skill }) };
  return checkedSpec({ kind: "agent", input, ...common(options) });
}

export function commandSpec(argv: readonly string[], options: CommandOptions): TaskSpec {
  return checkedSpec({ kind: "command", input: { argv }, ...common(options) });
}

/** The coordinator checks what is in the file; here it only has to be JSON. */
export async function readSpecs(session: Session, file: string): Promise<TaskSpec[]> {
  const text = file === "-" ? await session.terminal.readInput() : await readSpecFile(file);
  const whole = parseJson(text);
  if (whole.ok) return (Array.isArray(whole.value) ? whole.value : [whole.value]) as TaskSpec[];
  const lines = text.split("\n").map((line, index) => ({ line, number: index + 1 }));
  const specs = lines.filter(({ line }) => line.trim() !== "").map(({ line, number }) => ({ number, parsed: parseJson(line) }));
  const first = specs[0];
  // Where not even the first line stands by itself, the file was meant as one document.
  if (first === undefined || !first.parsed.ok) throw new ClusterError("usage", `${file} is not JSON: ${whole.message}`);
  return specs.map(({ number, parsed }) => {
    if (!parsed.ok) throw new ClusterError("usage", `${file}, line ${number} is not JSON: ${parsed.message}`);
    return parsed.value as TaskSpec;
  });
}

function common(options: CommonOptions): object {
  const places = options.on ?? [];
  const nodes = places.filter((place) => !place.includes("="));
  const labels = places.filter((place) => place.includes("="));
  for (const node of nodes) {
    if (!NodeId.safeParse(node).success) throw new ClusterError("usage", `--on ${node}: name a node (a-z and 0-9) or a label (name=value)`);
  }
  const require = { ...(nodes.length > 0 && { nodes }), ...(labels.length > 0 && { labels: readLabels(labels) }) };
  return {
    ...(Object.keys(require).length > 0 && { require }),
    ...(options.label && { labels: readLabels(options.label) }),
    ...(options.priority !== undefined && { priority: readPriority(options.priority) }),
    ...(options.name !== undefined && { name: options.name }),
  };
}

export function readPriority(text: string): Priority {
  const priority = Priority.safeParse(/^\d$/.test(text) ? Number(text) : text);
  if (!priority.success) throw new ClusterError("usage", `--priority ${text}: say critical, high, normal, low, or 0 to 9`);
  return priority.data;
}

/** What comes from options is checked here, so that a mistake is told in the words of the command line. */
export function checkedSpec(spec: unknown): TaskSpec {
  const result = TaskSpec.safeParse(spec);
  if (result.success) return result.data;
  throw new ClusterError("usage", result.error.issues.map((issue) => `${issue.path.join(".")}: ${issue.message}`).join("; "));
}

async function readSpecFile(file: string): Promise<string> {
  try {
    return await readFile(file, "utf8");
  } catch (error) {
    throw new ClusterError("usage", `cannot read ${file}: ${(error as Error).message}`, { cause: error });
  }
}

function parseJson(text: string): { ok: true; value: unknown } | { ok: false; message: string } {
  try {
    return { ok: true, value: JSON.parse(text) };
  } catch (error) {
    return { ok: false, message: (error as Error).message };
  }
}
