/** Nodes as a person reads them. */
import { stateText, type JoinedFrom, type Node, type NodeFacts, type NodeState } from "@openclaw-cluster/contract/node";
import { facts, table } from "./table.ts";
import { labelText } from "./task-view.ts";
import { paint, plainLine, type Style, type Terminal } from "./terminal.ts";
import { age, dayAndTime, mebibytes } from "./time.ts";

const STATE_STYLES: Record<NodeState, Style> = {
  ready: "green",
  pending: "yellow",
  suspect: "yellow",
  lost: "red",
  offline: "dim",
  asleep: "dim",
  revoked: "dim",
};
const NAMES_SHOWN_MAX = 40;

const stateStyle = (node: Node): Style => (stateText(node) === node.state ? STATE_STYLES[node.state] : "yellow");

export function nodeTable(terminal: Terminal, nodes: readonly Node[], now: number): string {
  return table(terminal, nodes, [
    { title: "NODE", value: (node) => node.id },
    { title: "STATE", value: stateText, style: stateStyle },
    { title: "SLOTS", value: (node) => `${node.slotsUsed}/${node.slots}`, right: true },
    { title: "CPU", value: (node) => node.load && `${Math.round(node.load.cpu * 100)} %`, right: true },
    { title: "MEM FREE", value: (node) => node.load && mebibytes(node.load.memoryFreeMiB), right: true },
    { title: "SYSTEM", value: ({ facts: known }) => known && `${known.os}/${known.arch}` },
    { title: "OPENCLAW", value: openclawText },
    { title: "DONE", value: (node) => String(node.succeeded), right: true },
    { title: "FAILED", value: (node) => String(node.failed), right: true },
    { title: "SEEN", value: (node) => (node.lastSeenAt === undefined ? "never" : age(node.lastSeenAt, now)), right: true },
    { title: "LABELS", value: (node) => labelText(node.labels), cut: true },
  ]);
}

function openclawText(node: Node): string | undefined {
  if (node.facts === undefined) return undefined;
  const { openclaw } = node.facts;
  if (openclaw === undefined) return "-";
  return openclaw.reachable ? openclaw.version : `${openclaw.version} (down)`;
}

export function nodeFacts(terminal: Terminal, node: Node): string {
  const { facts: known, load } = node;
  return facts(terminal, [
    ["node", node.id],
    ["state", paint(terminal, stateStyle(node), stateText(node))],
    ["host", known && plainLine(known.hostname)],
    ["joined from", node.joinedFrom && joinedText(node.joinedFrom)],
    ["system", known && `${known.os}/${known.arch}, ${known.cpus} processors, ${mebibytes(known.memoryMiB)}`],
    ["slots", `${node.slotsUsed} of ${node.slots} taken`],
    [
      "load",
      load && `cpu ${Math.round(load.cpu * 100)} %, memory free ${mebibytes(load.memoryFreeMiB)}, disk free ${mebibytes(load.diskFreeMiB)}`,
    ],
    ["labels", labelText(node.labels)],
    ["kinds", known?.kinds.join(" ")],
    ...policyRows(known?.policy),
    ["OpenClaw", openclawText(node)],
    ["agents", known?.openclaw && names(known.openclaw.agents)],
    ["models", known?.openclaw && names(known.openclaw.models.map((model) => `${model.provider}/${model.id}`))],
    ["skills", known && names(known.skills.filter((skill) => skill.eligible).map((skill) => skill.name))],
    ["tasks", `${node.succeeded} succeeded, ${node.failed} failed`],
    ["registered", dayAndTime(node.registeredAt)],
    ["last seen", node.lastSeenAt === undefined ? "never" : dayAndTime(node.lastSeenAt)],
    ["versions", known && `cluster ${plainLine(known.version)}, Node ${plainLine(known.nodeVersion)}`],
  ]);
}

/** By Tailscale's word, when it joined. */
function joinedText({ address, login, machine, tags }: JoinedFrom): string {
  return plainLine([address, machine, login, ...tags].filter((part) => part !== undefined).join(", "));
}

/** What the node says of its own policy; `openclaw-cluster policy check` there says all. */
function policyRows(policy: NodeFacts["policy"] | undefined): (readonly [name: string, value: string])[] {
  if (policy === undefined) return [];
  const { kinds, agents, commands, users, hours } = policy;
  const rows: (readonly [name: string, value: string])[] = [["policy allows", kinds.join(" ") || "nothing"]];
  if (kinds.includes("agent") && agents !== undefined) rows.push(["its agents", names(agents) || "none"]);
  if (kinds.includes("command")) rows.push(["its programs", commands === undefined ? "any" : names(commands)]);
  if (users !== undefined) rows.push(["its users", usersText(users)]);
  if (hours !== undefined) {
    const now = hours.quiet && (hours.quiet.text === undefined ? "; now, without an end" : `; now, until ${hours.quiet.text}`);
    rows.push(["quiet hours", plainLine(`${hours.text}${now ?? ""}`)]);
  }
  return rows;
}

function usersText({ allow, deny }: NonNullable<NodeFacts["policy"]["users"]>): string {
  const open = allow.includes("*") ? "everybody" : names(allow) || "nobody";
  return deny.length === 0 ? open : `${open}, never ${names(deny)}`;
}

function names(all: readonly string[]): string {
  const shown = all.slice(0, NAMES_SHOWN_MAX).map(plainLine).join(" ");
  return all.length > NAMES_SHOWN_MAX ? `${shown} and ${all.length - NAMES_SHOWN_MAX} more` : shown;
}
