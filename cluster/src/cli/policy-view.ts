/** A node's policy in plain words: what counts in the end, denials included. */
import { totalmem } from "node:os";
import { ruleText, wordsText } from "../core/allow-rule.ts";
import { limitsHere } from "../core/bounds.ts";
import type { Policy } from "../core/policy.ts";
import { hoursText, quietness, untilText, type Moment } from "../core/quiet-hours.ts";
import type { TaskKind } from "@openclaw-cluster/contract/task-spec";
import { facts } from "./table.ts";
import { plainLine, type Terminal } from "./terminal.ts";

type Row = readonly [name: string, value: string];

export function policyText(terminal: Terminal, policy: Policy, moment: Moment): string {
  const { allow, deny } = policy;
  const commands = (rules: readonly (readonly string[])[]): string[] => rules.map(wordsText);
  const rows: Row[] = [
    ["echo", shut(policy, "echo") ?? (allow.echo ? "allowed" : "not allowed")],
    ["agents", shut(policy, "agent") ?? listed(allow.agents, deny.agents)],
    ["tools", shut(policy, "tool") ?? listed(allow.tools, deny.tools)],
    ...(allow.sessions.length === 0 ? [] : [["sessions", `each user's own, and ${allow.sessions.join(", ")}`] as const]),
    ...lines("commands", shut(policy, "command"), allow.commands.map(ruleText), commands(deny.commands)),
    ...(allow.commands.length === 0 || deny.kinds.includes("command")
      ? []
      : [
          ["folders", `a fresh one for each task${also(allow.cwds)}${never(deny.cwds)}`] as const,
          ["variables", allow.env.length === 0 ? "none" : allow.env.join(", ")] as const,
          ...(allow.secrets.length === 0 ? [] : [["secrets", allow.secrets.join(", ")] as const]),
          ["sandbox", policy.sandbox] as const,
          ["limits", limitsText(policy)] as const,
        ]),
    ["models", `${listed(allow.models, deny.models)}${deny.kinds.includes("model") ? "; to no tasks" : ""}`],
    ["users", policy.users === undefined ? "everybody" : listed(policy.users.allow, policy.users.deny, "everybody")],
    ["quiet", policy.hours === undefined ? "never" : quietText(policy.hours, moment)],
    ...(allow.models.length === 0 ? [] : [["battery", policy.battery.models ? "models are lent" : "no models are lent"] as const]),
  ];
  return facts(
    terminal,
    rows.map(([name, value]) => [name, plainLine(value)] as const),
  );
}

function shut({ deny }: Policy, kind: TaskKind): string | undefined {
  return deny.kinds.includes(kind) ? "denied" : undefined;
}

function listed(allow: readonly string[], deny: readonly string[], all = "any"): string {
  if (allow.length === 0) return all === "any" ? "none" : "nobody";
  return `${allow.includes("*") ? all : allow.join(", ")}${never(deny)}`;
}

const never = (deny: readonly string[]): string => (deny.length === 0 ? "" : `, never ${deny.join(", ")}`);
const also = (folders: readonly string[]): string => (folders.length === 0 ? "" : `, or one in ${folders.join(", ")}`);

/** One line for each rule. */
function lines(name: string, denied: string | undefined, allow: readonly string[], deny: readonly string[]): Row[] {
  if (denied !== undefined) return [[name, denied]];
  if (allow.length === 0) return [[name, "none"]];
  const all = [...allow.map((rule) => (rule === "**" ? "any (**)" : rule)), ...deny.map((rule) => `never ${rule}`)];
  return all.map((rule, index) => [index === 0 ? name : "", rule]);
}

function quietText(hours: NonNullable<Policy["hours"]>, moment: Moment): string {
  const { quiet, until } = quietness(hours, moment);
  const now = !quiet ? "" : `; now${until === undefined ? ", without an end" : `, until ${untilText(until, hours, moment)}`}`;
  return `${hoursText(hours, moment.timeZone)}${now}${hours.pinned ? "; tasks for this node alone are taken all the same" : ""}`;
}

/** What one command may take, on this machine. */
function limitsText({ limits }: Policy): string {
  const { memoryMiB, processes, fileMiB, openFiles, nice } = limitsHere(limits, totalmem() / MIB);
  return `${memoryMiB} MiB of memory, ${processes} processes, ${fileMiB} MiB in one file, ${openFiles} open files, nice ${nice}`;
}

const MIB = 1024 * 1024;
