/**
 * One thing done to many tasks: the filter as options, a question before it hits more than a few, and call after call
 * until all of it is done.
 */
import type { BulkFilter, BulkReport, BulkRequest } from "@openclaw-cluster/contract/bulk";
import { Alike } from "@openclaw-cluster/contract/bulk";
import { ClusterError } from "@openclaw-cluster/contract/errors";
import { LIMITS } from "@openclaw-cluster/contract/limits";
import { TaskKind } from "@openclaw-cluster/contract/task-spec";
import type { Command } from "commander";
import { collect } from "./command.ts";
import { readLabel, readNodeId, readTaskState } from "./ids.ts";
import type { Session } from "./session.ts";
import { plainLine, remark } from "./terminal.ts";

export interface BulkOptions {
  readonly state?: readonly string[];
  readonly kind?: string;
  readonly node?: string;
  readonly label?: string;
  readonly name?: string;
  readonly owner?: string;
  readonly mine?: true;
  readonly dead?: true;
  readonly alike?: string;
  readonly all?: true;
  readonly dryRun?: true;
  readonly yes?: true;
}

type Action = Pick<Extract<BulkRequest, { action: "answer" }>, "action" | "decision"> | { readonly action: "cancel" | "retry" };

/** As many can be looked over; more than that is asked about. */
const FEW = 5;

/** For actions that find their tasks by a filter, too. */
export function bulkOptions(command: Command): Command {
  return filterOptions(command)
    .option("--kind <kind>", "all that are of this kind")
    .option("--name <name>", "all that have this name")
    .option("--all", "all that there are")
    .option("--dry-run", "only say how many")
    .option("--yes", "do not ask");
}

/** The filter that lists have as well. */
export function filterOptions(command: Command): Command {
  return command
    .option("--state <state>", "all in this state; may be repeated", collect)
    .option("--node <node>", "all of this node")
    .option("--label <name=value>", "all that are filed under this label")
    .option("--mine", "all that are yours")
    .option("--owner <user>", "all of this user")
    .option("--dead", "all that failed for good")
    .option("--alike <group>", "all that failed like this; `dead` lists the groups");
}

export function readFilter({ state, node, label, kind, name, owner, mine, dead, alike }: BulkOptions): BulkFilter {
  return {
    ...(state !== undefined && { state: state.map(readTaskState) }),
    ...(node !== undefined && { node: readNodeId(node) }),
    ...(label !== undefined && { label: readLabel(label).join("=") }),
    ...(kind !== undefined && { kind: readOne(TaskKind, kind, "--kind") }),
    ...(name !== undefined && { name }),
    ...(owner !== undefined && { owner }),
    ...(mine === true && { mine }),
    ...(dead === true && { dead }),
    ...(alike !== undefined && { alike: readOne(Alike, alike, "--alike") }),
  };
}

/** undefined: no filter was given. */
export function readBulkFilter(options: BulkOptions): BulkFilter | undefined {
  const filter = readFilter(options);
  if (Object.keys(filter).length > 0) return filter;
  return options.all === true ? { all: true } : undefined;
}

/** `done`: what has become of them, as `cancelled`. */
export async function carryOut(
  session: Session,
  action: Action,
  filter: BulkFilter,
  options: BulkOptions & { done: string },
): Promise<number> {
  const { done, dryRun, yes } = options;
  if (dryRun === true || yes !== true) {
    const { matched, refused } = await callAll(session, { ...action, filter, dryRun: true });
    const count = matched - refused;
    if (dryRun === true) {
      session.show(
        { ok: true, matched, refused },
        () => `would be ${done}: ${tasks(count)}${refused === 0 ? "" : `; not yours: ${tasks(refused)}`}\n`,
      );
      return 0;
    }
    await confirm(session, `${tasks(count)} would be ${done}`, count);
  }
  const report = await callAll(session, { ...action, filter }, done);
  session.show({ ok: report.refused === 0, ...report }, () => reportText(report, done));
  return report.refused === 0 ? 0 : 1;
}

async function confirm({ terminal }: Session, what: string, count: number): Promise<void> {
  if (count <= FEW) return;
  const said = await terminal.ask(`${what}. Go on? [y/N] `);
  if (said === undefined) throw new ClusterError("usage", `${what}: say --yes where nobody can be asked`);
  if (!/^y(es)?$/i.test(said.trim())) throw new ClusterError("usage", "nothing was changed");
}

/** Every call does a bounded part. */
async function callAll(session: Session, request: BulkRequest, done?: string): Promise<BulkReport> {
  const client = await session.client();
  const whole = { matched: 0, changed: 0, refused: 0, refusals: [] as BulkReport["refusals"] };
  for (let cursor: number | undefined; ;) {
    const { next, ...part } = await client.bulk({ ...request, ...(cursor !== undefined && { cursor }) });
    whole.matched += part.matched;
    whole.changed += part.changed;
    whole.refused += part.refused;
    whole.refusals = [...whole.refusals, ...part.refusals].slice(0, LIMITS.bulkRefusalsShown);
    if (next === undefined) return whole;
    if (done !== undefined) remark(session.terminal, `${done} so far: ${whole.changed}`);
    cursor = next;
  }
}

function reportText({ changed, refused, refusals }: BulkReport, done: string): string {
  const lines = [`${done}: ${tasks(changed)}`];
  if (refused > 0) lines.push(`refused: ${tasks(refused)}`, ...refusals.map(({ code, detail }) => `  ${plainLine(detail)} (${code})`));
  if (refused > refusals.length) lines.push(`  … and ${refused - refusals.length} more`);
  return `${lines.join("\n")}\n`;
}

const tasks = (count: number): string => `${count} task${count === 1 ? "" : "s"}`;

function readOne<T>(schema: { safeParse(value: unknown): { success: true; data: T } | { success: false } }, text: string, what: string): T {
  const known = schema.safeParse(text);
  if (!known.success) throw new ClusterError("usage", `${what} ${text}: there is no such one`);
  return known.data;
}
