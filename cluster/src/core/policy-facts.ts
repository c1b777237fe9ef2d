/**
 * What a node says of its policy to its cluster: for placement, and for people who look from afar.
 *
 * P1. It never says less than what is allowed: where a list would be too long, it is left out, which means any. The node decides.
 * P2. Lines of rules are for people, and cut to a limit. They and the names of conversations can tell of their owner's life, so
 *     only operators are shown them (visibility.ts).
 */
import { POLICY_LINES_MAX, type NodeFacts } from "@openclaw-cluster/contract/node";
import { TaskKind } from "@openclaw-cluster/contract/task-spec";
import { ruleText, wordsOf, wordsText } from "./allow-rule.ts";
import { programOf } from "./command-rule.ts";
import { decide, type Policy } from "./policy.ts";
import { hoursText, quietness, untilText, type Hours, type Moment } from "./quiet-hours.ts";

type PolicyFacts = NodeFacts["policy"];

const LINE_CHARS_MAX = 256;

/** `agents`: those of this node's OpenClaw, where it is known. A list that is absent means any. */
export function summary(policy: Policy, moment: Moment, agents?: readonly string[]): PolicyFacts {
  const { allow, deny, users, hours } = policy;
  // Of models a node tells what it lends (contract/src/node.ts, `lends`).
  const open: Record<Exclude<TaskKind, "model">, boolean> = {
    echo: allow.echo,
    agent: allow.agents.length > 0,
    tool: allow.tools.length > 0,
    command: allow.commands.length > 0,
  };
  const kinds = TaskKind.options.filter((kind) => kind !== "model" && open[kind] && !deny.kinds.includes(kind));
  const everyAgent = allow.agents.includes("*") && deny.agents.length === 0;
  const everyTool = allow.tools.includes("*") && deny.tools.length === 0;
  const programs = allow.commands.map((rule) => programOf(wordsOf(rule)));
  const takes = (kind: TaskKind): boolean => kinds.includes(kind);
  return {
    kinds,
    ...(!everyAgent && {
      agents: agents === undefined ? allow.agents : [undefined, ...agents].filter(isAllowed(policy)).map((name) => name ?? "default"),
    }),
    ...(takes("tool") && !everyTool && { tools: { allow: allow.tools, deny: deny.tools } }),
    ...((takes("agent") || takes("tool")) && { sessions: allow.sessions }),
    ...(!programs.includes(undefined) && { commands: [...new Set(programs as string[])] }),
    ...(takes("command") && { rules: rulesOf(policy) }),
    ...(users !== undefined && { users }),
    ...(hours !== undefined && { hours: hoursSummary(hours, moment) }),
  };
}

function isAllowed(policy: Policy): (agent: string | undefined) => boolean {
  return (agent) => decide(policy, { kind: "agent", input: { message: "", ...(agent !== undefined && { agent }) } }).allow;
}

/** How commands are ruled, line by line, denials too. */
function rulesOf({ allow, deny }: Policy): NonNullable<PolicyFacts["rules"]> {
  const never = (lines: readonly string[]): string[] => lines.map((line) => `never ${line}`);
  const lists = {
    commands: [...allow.commands.map(ruleText), ...never(deny.commands.map(wordsText))],
    folders: [...allow.cwds, ...never(deny.cwds)],
    variables: allow.env,
    secrets: allow.secrets,
  };
  const leftOut = Object.values(lists).reduce((sum, lines) => sum + Math.max(0, lines.length - POLICY_LINES_MAX), 0);
  const { commands, folders, variables, secrets } = lists;
  return {
    ...{ commands: cut(commands), folders: cut(folders), variables: cut(variables), secrets: cut(secrets) },
    ...(leftOut > 0 && { leftOut }),
  };
}

function cut(lines: readonly string[]): string[] {
  return lines.slice(0, POLICY_LINES_MAX).map((line) => (line.length <= LINE_CHARS_MAX ? line : `${line.slice(0, LINE_CHARS_MAX - 1)}…`));
}

function hoursSummary(hours: Hours, moment: Moment): NonNullable<PolicyFacts["hours"]> {
  const { quiet, until } = quietness(hours, moment);
  return {
    text: hoursText(hours, moment.timeZone),
    pinned: hours.pinned,
    ...(quiet && { quiet: until === undefined ? {} : { until, text: untilText(until, hours, moment) } }),
  };
}
