/**
 * The command line. Names and one-line summaries of all commands stand here; what a command takes and does is in its
 * own file under commands/, loaded when it is asked for, so that `--help` and small commands start fast.
 *
 * Exit codes: 0 done, 1 failed or not found, 2 not understood or could not run, 130 interrupted.
 */
import { readFile } from "node:fs/promises";
import type { Command, CommanderError } from "commander";
import type { Act, CommandFile } from "./command.ts";
import type { GlobalOptions } from "./session.ts";
import { processTerminal, type Terminal } from "./terminal.ts";

interface Entry {
  readonly name: string;
  readonly group: string;
  readonly summary: string;
  load(): Promise<CommandFile>;
}

const MACHINE = "This machine:";
const WORK = "Tasks:";
const CLUSTER = "The cluster:";

export const COMMANDS: readonly Entry[] = [
  { name: "start", group: MACHINE, summary: "run this machine's daemon", load: () => import("./commands/start.ts") },
  {
    name: "join",
    group: MACHINE,
    summary: "bring this machine into a cluster, with a code from `invite`",
    load: () => import("./commands/join.ts"),
  },
  {
    name: "discover",
    group: MACHINE,
    summary: "list the coordinators of this machine's tailnet",
    load: () => import("./commands/discover.ts"),
  },
  {
    name: "leave",
    group: MACHINE,
    summary: "take this machine out of its cluster for good, in good order",
    load: () => import("./commands/leave.ts"),
  },
  { name: "rotate", group: MACHINE, summary: "give this machine another key", load: () => import("./commands/rotate.ts") },
  { name: "probe", group: MACHINE, summary: "see how this machine does in its cluster", load: () => import("./commands/probe.ts") },
  {
    name: "service",
    group: MACHINE,
    summary: "let this machine start the daemon by itself",
    load: () => import("./commands/service.ts"),
  },
  { name: "doctor", group: MACHINE, summary: "check this machine and its way to the cluster", load: () => import("./commands/doctor.ts") },
  { name: "config", group: MACHINE, summary: "show and change this machine's settings", load: () => import("./commands/config.ts") },
  { name: "policy", group: MACHINE, summary: "check and try what may run on this machine", load: () => import("./commands/policy.ts") },
  { name: "secret", group: MACHINE, summary: "keep secrets of this machine for commands", load: () => import("./commands/secret.ts") },
  {
    name: "restore",
    group: MACHINE,
    summary: "put a backup in the place of this machine's database",
    load: () => import("./commands/restore.ts"),
  },
  { name: "run", group: WORK, summary: "give words to an agent, on the best machine", load: () => import("./commands/run.ts") },
  { name: "exec", group: WORK, summary: "run a command on the best machine", load: () => import("./commands/exec.ts") },
  { name: "submit", group: WORK, summary: "submit tasks from a file", load: () => import("./commands/submit.ts") },
  { name: "plan", group: WORK, summary: "say where a task would run, without running it", load: () => import("./commands/plan.ts") },
  { name: "ps", group: WORK, summary: "list tasks, newest first", load: () => import("./commands/ps.ts") },
  { name: "show", group: WORK, summary: "show one task with its attempts and result", load: () => import("./commands/show.ts") },
  { name: "why", group: WORK, summary: "say why a task runs where it runs, or why it waits", load: () => import("./commands/why.ts") },
  { name: "logs", group: WORK, summary: "show a task's output, or the daemon's own log", load: () => import("./commands/logs.ts") },
  { name: "cancel", group: WORK, summary: "cancel tasks", load: () => import("./commands/cancel.ts") },
  { name: "dead", group: WORK, summary: "show what failed for good, and why, in groups", load: () => import("./commands/dead.ts") },
  { name: "retry", group: WORK, summary: "run failed or cancelled tasks again", load: () => import("./commands/retry.ts") },
  { name: "answer", group: WORK, summary: "decide on tasks that wait for a person", load: () => import("./commands/answer.ts") },
  { name: "status", group: CLUSTER, summary: "show the cluster on one screen", load: () => import("./commands/status.ts") },
  {
    name: "cluster",
    group: CLUSTER,
    summary: "show who leads and who stands by, and what the store and the bus stand on",
    load: () => import("./commands/cluster.ts"),
  },
  { name: "nodes", group: CLUSTER, summary: "list, label, drain, stop and remove nodes", load: () => import("./commands/nodes.ts") },
  {
    name: "models",
    group: CLUSTER,
    summary: "list and measure the language models that nodes lend",
    load: () => import("./commands/models.ts"),
  },
  {
    name: "promote",
    group: CLUSTER,
    summary: "make nodes control nodes, so that one can die",
    load: () => import("./commands/promote.ts"),
  },
  { name: "demote", group: CLUSTER, summary: "make a control node a worker again", load: () => import("./commands/demote.ts") },
  { name: "invite", group: CLUSTER, summary: "make a code that lets another machine join", load: () => import("./commands/invite.ts") },
  { name: "token", group: CLUSTER, summary: "make, list and revoke tokens of the API", load: () => import("./commands/token.ts") },
  { name: "audit", group: CLUSTER, summary: "show who let whom in and changed what", load: () => import("./commands/audit.ts") },
  { name: "queue", group: CLUSTER, summary: "show what waits, in the order of placing", load: () => import("./commands/queue.ts") },
  {
    name: "drill",
    group: CLUSTER,
    summary: "kill a worker, a node or a coordinator on purpose, and read a verdict",
    load: () => import("./commands/drill.ts"),
  },
  { name: "backup", group: CLUSTER, summary: "copy the coordinator's database while it works", load: () => import("./commands/backup.ts") },
  { name: "store", group: CLUSTER, summary: "move the coordinator's store while it works", load: () => import("./commands/store.ts") },
  { name: "events", group: CLUSTER, summary: "follow everything that changes", load: () => import("./commands/events.ts") },
];

export async function main(argv: readonly string[], terminal?: Terminal): Promise<number> {
  return run(argv, terminal ?? processTerminal());
}

async function run(argv: readonly string[], terminal: Terminal): Promise<number> {
  let exitCode = 0;
  const act: Act =
    (action) =>
    async (...all) => {
      const { openSession } = await import("./session.ts");
      const command = all.at(-1) as Command;
      const session = openSession(command.optsWithGlobals<GlobalOptions>(), terminal);
      try {
        exitCode = (await action(session, all.at(-2) as never, ...(all.slice(0, -2) as never))) ?? 0;
      } finally {
        await session.close();
      }
    };
  const json = wantsJson(argv);
  const program = await buildProgram(terminal, act, json);
  try {
    await program.parseAsync(helpAsOption(argv), { from: "user" });
    return exitCode;
  } catch (error) {
    if (isCommanderError(error)) return error.exitCode === 0 ? 0 : await tellMisuse(error, terminal, json);
    const { failureOf, tellFailure } = await import("./failure.ts");
    return tellFailure(terminal, json, failureOf(error));
  }
}

async function buildProgram(terminal: Terminal, act: Act, json: boolean): Promise<Command> {
  const { Command } = await import("commander");
  const program = new Command("openclaw-cluster")
    .description("Makes many machines that run OpenClaw work as one.")
    .usage("<command> [options]")
    .version(await version(), "-V, --version", "print the version")
    .helpOption("-h, --help", "show help")
    .helpCommand(false)
    .option("--home <folder>", "the cluster's folder on this machine ($OPENCLAW_CLUSTER_HOME, else ~/.openclaw/cluster)")
    .option("--url <address>", "the coordinator's API ($OPENCLAW_CLUSTER_URL)")
    .option("--token-file <file>", "file with the API token ($OPENCLAW_CLUSTER_TOKEN holds a token itself)")
    .option(
      "--ca <file>",
      "certificate of the coordinator's authority ($OPENCLAW_CLUSTER_CA); the one of this machine's cluster unless said",
    )
    .option("--token <token>", "the API token; visible to others on this machine, prefer the two above")
    .option("--json", "print one JSON document on stdout")
    .configureHelp({ showGlobalOptions: true })
    .configureOutput({
      writeOut: (text) => terminal.out(text),
      writeErr: (text) => terminal.err(json ? "" : text),
      getOutHelpWidth: () => terminal.columns ?? 100,
    })
    .exitOverride()
    .addHelpText(
      "after",
      '\nExamples:\n  openclaw-cluster start\n  openclaw-cluster run "Summarise the news" --follow\n  openclaw-cluster <command> --help',
    );
  const files = new Map<string, Entry>();
  for (const entry of COMMANDS) {
    program.command(entry.name).summary(entry.summary).description(sentence(entry.summary)).helpGroup(entry.group);
    files.set(entry.name, entry);
  }
  return program.hook("preSubcommand", async (_program, command) => {
    (await files.get(command.name())?.load())?.configure(command, act);
  });
}

/** commander has said what is wrong on stderr; what to do next is ours, and so is the document with --json. */
async function tellMisuse(error: CommanderError, terminal: Terminal, json: boolean): Promise<number> {
  const { tellFailure, failureOf } = await import("./failure.ts");
  const { ClusterError } = await import("@openclaw-cluster/contract/errors");
  const detail = error.message.replace(/^error: /, "");
  const failure = failureOf(new ClusterError("usage", detail === "(outputHelp)" ? "a command is missing" : detail));
  if (json) return tellFailure(terminal, true, failure);
  if (error.code !== "commander.help") terminal.err(` hint: ${failure.hint}\n`);
  return failure.exit;
}

const isCommanderError = (error: unknown): error is CommanderError =>
  error instanceof Error && "code" in error && String(error.code).startsWith("commander.");

/** `help ps` is `ps --help`. */
function helpAsOption(argv: readonly string[]): string[] {
  return argv[0] === "help" ? [...argv.slice(1), "--help"] : [...argv];
}

function wantsJson(argv: readonly string[]): boolean {
  const end = argv.indexOf("--");
  return argv.slice(0, end < 0 ? argv.length : end).includes("--json");
}

async function version(): Promise<string> {
  const manifest = JSON.parse(await readFile(new URL("../../package.json", import.meta.url), "utf8")) as { version: string };
  return manifest.version;
}

const sentence = (text: string): string => `${text.charAt(0).toUpperCase()}${text.slice(1)}.`;
