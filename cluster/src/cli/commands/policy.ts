/** `policy`: what may run on this machine. Nothing here changes the file, and nobody else is asked. */
import { access } from "node:fs/promises";
import { totalmem } from "node:os";
import path from "node:path";
import { ClusterError } from "@openclaw-cluster/contract/errors";
import type { Submitter } from "@openclaw-cluster/contract/submitter";
import type { TaskSpec } from "@openclaw-cluster/contract/task-spec";
import type { Command } from "commander";
import { ownPolicy, policyJsonSchema, tryPolicy, type OwnPolicy } from "../../compose/policy.ts";
import { limitsHere } from "../../core/bounds.ts";
import type { Policy } from "../../core/policy.ts";
import { isNobodys } from "../../core/session-rule.ts";
import { localTimeZone } from "../../system/clock.ts";
import { collect, examples, type Act } from "../command.ts";
import { policyText } from "../policy-view.ts";
import type { Session } from "../session.ts";
import { checkedSpec } from "../spec.ts";
import { paint, plain, remark } from "../terminal.ts";

interface TestOptions {
  readonly agent?: string;
  readonly session?: string;
  readonly by?: readonly string[];
  readonly at?: string;
  readonly file?: string;
}

const TOKEN = "token:";
const MIB = 1024 * 1024;

export function configure(command: Command, act: Act): void {
  examples(command, "policy check", "policy show", "policy test command -- uname -a");
  examples(
    command
      .command("check")
      .summary("look for faults in policy.yaml, and say what it means")
      .argument("[file]", "another file than this machine's"),
    "policy check",
    "policy check draft.yaml --json",
  ).action(act(check));
  examples(command.command("show").summary("print the policy that counts, defaults included"), "policy show").action(act(show));
  examples(command.command("schema").summary("print the JSON Schema of policy.yaml"), "policy schema").action(act(schema));
  examples(
    command
      .command("test")
      .summary("say whether this node would take a task, and by which rule")
      .argument("<task...>", "a task as JSON; or its kind and words: echo, agent <words>, tool <name>, command -- <argv...>, model <name>")
      .option("--agent <name>", "the OpenClaw agent of an agent or tool task")
      .option("--session <name>", "the session of an agent or tool task")
      .option("--by <user>", "who submits it: the name of a token, and its id as token:<id>; may be repeated", collect)
      .option("--at <time>", "when it comes, as 2026-06-01T23:00; now unless said")
      .option("--file <file>", "another file than this machine's"),
    "policy test command -- git push",
    'policy test agent "Say hello" --agent main --by ann --at 2026-06-01T23:00',
    `policy test '{"kind":"tool","input":{"tool":"web_fetch"}}'`,
  ).action(act(test));
}

async function check(session: Session, _options: object, file: string | undefined): Promise<number> {
  const own = await read(session, file);
  if (own.kind === "broken") {
    const { detail, row } = invalid(own);
    const document = { ok: false, file: own.file, faults: own.faults, error: { code: "policy_invalid", detail, hint: row.hint } };
    const told = own.faults.map(({ text }) => `${plain(text)}\n`).join("");
    session.show(
      document,
      () => `${told}${paint(session.terminal, "red", "Until this is put right, everything is denied on this node.")}\n`,
    );
    return row.exit;
  }
  const head = own.kind === "file" ? `${own.file} is well. It says:` : `There is no ${own.file}; what is shipped counts:`;
  session.show({ ok: true, file: own.file, source: own.kind, policy: own.policy }, () => `${head}\n\n${words(session, own.policy)}`);
  return 0;
}

async function show(session: Session): Promise<void> {
  const own = sound(await read(session));
  const policy = { ...own, limits: limitsHere(own.limits, totalmem() / MIB) };
  const { stringify } = await import("yaml");
  session.show(policy, () => stringify({ ...policy, ...written(policy) }));
}

function schema(session: Session): Promise<void> {
  session.terminal.out(`${JSON.stringify(policyJsonSchema(), null, 2)}\n`);
  return Promise.resolve();
}

async function test(session: Session, options: TestOptions, task: string[]): Promise<number> {
  const policy = sound(await read(session, options.file));
  const trial = { spec: specOf(task, options), submitter: submitterOf(options.by), now: momentOf(options.at) };
  const tried = await tryPolicy(policy, trial, { home: session.home, env: session.terminal.env });
  const rules = tried.allow ? tried.rules : tried.rule === undefined ? [] : [tried.rule];
  const document = { taken: tried.allow, ...(!tried.allow && { reason: tried.reason }), rules };
  session.show(document, () => {
    const verdict = tried.allow
      ? paint(session.terminal, "green", "taken")
      : `${paint(session.terminal, "red", "refused")}: ${plain(tried.reason)}`;
    const by = rules.length > 0 ? rules.map((rule) => `  ${plain(rule)}\n`).join("") : "  no rule allows it\n";
    return `${verdict}\n${by}`;
  });
  if (tried.missing !== undefined) remark(session.terminal, `there is no program ${tried.missing} on this PATH; its name alone was judged`);
  const isPersonal = (spec: TaskSpec): boolean =>
    (spec.kind === "agent" || spec.kind === "tool") && isNobodys(spec.input.session, undefined);
  if ((policy.users !== undefined || isPersonal(trial.spec)) && trial.submitter === undefined)
    remark(session.terminal, "who submits it was not said: --by <user>");
  return tried.allow ? 0 : 1;
}

/** The machine's own file may be absent; one that was named may not. */
async function read(session: Session, named?: string): Promise<OwnPolicy> {
  if (named === undefined) return ownPolicy(session.home);
  const file = path.resolve(named);
  try {
    await access(file);
  } catch (cause) {
    throw new ClusterError("usage", `cannot read ${named}: ${(cause as Error).message}`, { cause });
  }
  return ownPolicy(session.home, file);
}

function sound(own: OwnPolicy): Policy {
  if (own.kind === "broken") throw invalid(own);
  return own.policy;
}

function invalid({ faults }: Extract<OwnPolicy, { kind: "broken" }>): ClusterError {
  return new ClusterError("policy_invalid", faults.map(({ text }) => text).join("; "));
}

function words(session: Session, policy: Policy): string {
  return policyText(session.terminal, policy, { now: Date.now(), timeZone: localTimeZone() });
}

/** Rules as one writes them: lines where their words hold no blank. */
function written({ allow, deny }: Policy): object {
  const line = (rule: readonly string[]): string | readonly string[] => (rule.some((word) => /\s/.test(word)) ? rule : rule.join(" "));
  const open = allow.commands.map((rule) => (Array.isArray(rule) ? line(rule) : { ...rule, run: line(rule.run) }));
  return { allow: { ...allow, commands: open }, deny: { ...deny, commands: deny.commands.map(line) } };
}

function specOf(task: readonly string[], { agent, session }: TestOptions): TaskSpec {
  const [kind = "", ...rest] = task;
  if (kind.trimStart().startsWith("{")) return checkedSpec(parse(task.join(" ")));
  const named = { ...(agent !== undefined && { agent }), ...(session !== undefined && { session }) };
  switch (kind) {
    case "echo":
      return checkedSpec({ kind, input: {} });
    case "agent":
      return checkedSpec({ kind, input: { message: rest.join(" ") || "hello", ...named } });
    case "tool":
      return checkedSpec({ kind, input: { tool: rest[0], ...named } });
    case "command":
      return checkedSpec({ kind, input: { argv: rest } });
    case "model":
      return checkedSpec({ kind, input: { prompt: "hello", ...(rest[0] !== undefined && { model: rest[0] }) } });
    default:
      throw new ClusterError("usage", `not a task: ${kind}; begin with echo, agent, tool, command or model, or with {`);
  }
}

function parse(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch (cause) {
    throw new ClusterError("usage", `the task is not JSON: ${(cause as Error).message}`, { cause });
  }
}

function submitterOf(by: readonly string[] | undefined): Submitter | undefined {
  if (by === undefined) return undefined;
  const name = by.find((one) => !one.startsWith(TOKEN));
  const token = by.find((one) => one.startsWith(TOKEN))?.slice(TOKEN.length) ?? "";
  return name === undefined ? { token } : { token, name };
}

function momentOf(at: string | undefined): number {
  const now = at === undefined ? Date.now() : Date.parse(at);
  if (Number.isNaN(now)) throw new ClusterError("usage", `--at ${at}: write it as 2026-06-01T23:00`);
  return now;
}
