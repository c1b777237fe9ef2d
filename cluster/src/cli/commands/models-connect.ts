/** `models connect` and `models disconnect`: this machine's OpenClaw and the models of all nodes. */
import { ClusterError } from "@openclaw-cluster/contract/errors";
import type { Command } from "commander";
import { carryOut, CONTEXT_TOKENS_MIN, planConnect, planDisconnect, type Connection, type Here } from "../../compose/model-connection.ts";
import { collect, examples, type Act } from "../command.ts";
import { readCount } from "../ids.ts";
import type { Session } from "../session.ts";
import { paint, plain, remark } from "../terminal.ts";

interface Options {
  readonly yes?: true;
  readonly dryRun?: true;
}
interface ConnectOptions extends Options {
  readonly model?: readonly string[];
  readonly context?: string;
  readonly replace?: true;
}

const CONTEXT_TOKENS_MAX = 10_000_000;
const UNIT = 2;

/** For `models`, whose verbs they are. */
export function configureConnection(models: Command, act: Act): void {
  const verb = (name: string, summary: string): Command =>
    models.command(name).summary(summary).option("--yes", "without asking").option("--dry-run", "only show what would change");
  examples(
    verb("connect", "let this machine's OpenClaw use the models of all nodes, as cluster/auto")
      .option("--model <name>", "offer it beside auto; can be given several times", collect)
      .option("--context <tokens>", "say so of their context, instead of what the endpoint tells")
      .option("--replace", "in place of another provider called cluster"),
    "models connect",
    "models connect --model qwen3:8b --context 40960 --yes",
    "models connect --dry-run --json",
  ).action(act(connect));
  examples(verb("disconnect", "take that out of OpenClaw's settings again"), "models disconnect").action(act(disconnect));
}

async function connect(session: Session, options: ConnectOptions): Promise<void> {
  const here = hereOf(session);
  const contextTokens = options.context === undefined ? undefined : readCount(options.context, "--context", CONTEXT_TOKENS_MAX);
  const connection = await planConnect(here, {
    models: options.model ?? [],
    replace: options.replace === true,
    ...(contextTokens !== undefined && { contextTokens }),
  });
  const notes = notesOf(session, connection, options.model ?? []);
  await carry(session, connection, options, notes, () =>
    [
      "OpenClaw has the models of all nodes as cluster/auto, without a restart.",
      "As its usual model: openclaw models set cluster/auto",
    ].join("\n"),
  );
}

async function disconnect(session: Session, options: Options): Promise<void> {
  const connection = await planDisconnect(hereOf(session));
  const notes =
    connection.text === undefined || connection.uses.length === 0
      ? []
      : [`OpenClaw's settings go on naming a model of it: ${connection.uses.join(", ")}. Another one there: openclaw models set <model>`];
  await carry(session, connection, options, notes, () => "OpenClaw does not use the models of other nodes any more.");
}

const hereOf = ({ home, terminal: { env } }: Session): Here => ({ home, env });

async function carry(
  session: Session,
  connection: Connection,
  { yes, dryRun }: Options,
  notes: readonly string[],
  done: () => string,
): Promise<void> {
  const { terminal } = session;
  const { kind, file, before, after, text } = connection;
  const facts = { file, ...(before !== undefined && { before }), ...(after !== undefined && { after }), notes };
  for (const note of notes) remark(terminal, `note: ${note}`);
  if (text === undefined)
    return session.show({ ok: true, changed: false, ...facts }, () =>
      kind === "connect" ? `${file} has it already as it is now\n` : `${file} has no provider of ours\n`,
    );
  if (dryRun === true) return session.show({ ok: true, changed: false, dryRun: true, ...facts }, () => changeText(session, connection));
  if (yes !== true) {
    terminal.err(changeText(session, connection));
    const said = await terminal.ask("Write this? [y/N] ");
    if (said === undefined) throw new ClusterError("usage", "this must be confirmed: say --yes where nobody can be asked");
    if (!/^y(es)?$/i.test(said.trim())) throw new ClusterError("usage", "nothing was changed");
  }
  const backup = await carryOut(hereOf(session), connection);
  session.show({ ok: true, changed: true, backup, ...facts }, () =>
    [...(yes === true ? [changeText(session, connection).trimEnd()] : []), done(), `As it was before: ${backup}\n`].join("\n"),
  );
}

function notesOf({ typed }: Session, { after, listed }: Connection, further: readonly string[]): readonly string[] {
  const context = after?.models?.find(({ id }) => id === "auto")?.contextWindow ?? 0;
  const notes: string[] = [];
  if (listed.length === 0) notes.push(`no node lends a model at the moment; ${typed("models")} shows what there is`);
  else if (listed.every(({ contextTokens }) => contextTokens === undefined))
    notes.push(`how long a prompt may be was not told, so ${context} tokens are assumed; --context says it`);
  if (context < CONTEXT_TOKENS_MIN)
    notes.push(
      `${context} tokens are few: OpenClaw's own prompt takes about 15000. Load a model with a longer context, or give its agent fewer tools (tools.profile)`,
    );
  const unknown = further.filter((name) => !name.startsWith("auto") && listed.every(({ id }) => id !== name));
  if (unknown.length > 0) notes.push(`no node lends ${unknown.join(", ")} at the moment`);
  return notes;
}

/** As `diff` would show it. */
function changeText({ terminal }: Session, { file, before, after }: Connection): string {
  const lines = (mark: string, value: object | undefined): string[] =>
    value === undefined
      ? []
      : JSON.stringify(value, null, UNIT)
          .split("\n")
          .map((line) => plain(`${mark} ${line}`));
  const [old, fresh] = [lines("-", before), lines("+", after)];
  const same = (line: string, others: readonly string[]): boolean => others.some((other) => other.slice(1) === line.slice(1));
  const shown = [
    ...old.filter((line) => !same(line, fresh)).map((line) => paint(terminal, "red", line)),
    ...fresh.map((line) => (same(line, old) ? ` ${line.slice(1)}` : paint(terminal, "green", line))),
  ];
  return `${file}\n  models.providers.cluster\n${shown.join("\n")}\n`;
}
