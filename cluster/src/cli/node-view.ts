/** Nodes as a person reads them. */
import type { Confinement } from "@openclaw-cluster/contract/command-limits";
import { stateText, type JoinedFrom, type Node, type NodeFacts, type NodeState } from "@openclaw-cluster/contract/node";
import { facts, table } from "./table.ts";
import { labelText } from "./task-view.ts";
import { paint, plainLine, type Style, type Terminal } from "./terminal.ts";
import { age, dayAndTime, mebibytes } from "./time.ts";

type Row = readonly [name: string, value: string];

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
    ["key", node.fingerprint],
    ["says it is", known === undefined && node.claimed ? claimedText(node.claimed) : undefined],
    ["joined from", node.joinedFrom && joinedText(node.joinedFrom)],
    ["system", known && `${known.os}/${known.arch}, ${known.cpus} processors, ${mebibytes(known.memoryMiB)}`],
    ["slots", `${node.slotsUsed} of ${node.slots} taken`],
    [
      "load",
      load && `cpu ${Math.round(load.cpu * 100)} %, memory free ${mebibytes(load.memoryFreeMiB)}, disk free ${mebibytes(load.diskFreeMiB)}`,
    ],
    ["labels", labelText(node.labels)],
    ["kinds", known && [...known.kinds, ...(known.lends === undefined ? [] : ["model"])].join(" ")],
    ...policyRows(known?.policy),
    ...confinementRows(known?.confinement),
    ["OpenClaw", openclawText(node)],
    ["agents", known?.openclaw && names(known.openclaw.agents)],
    ["models", known?.openclaw && names(known.openclaw.models.map((model) => `${model.provider}/${model.id}`))],
    ["lends", known?.lends && (names(known.lends.map(({ id }) => id)) || "nothing now")],
    ["skills", known && names(known.skills.filter((skill) => skill.eligible).map((skill) => skill.name))],
    ["tasks", `${node.succeeded} succeeded, ${node.failed} failed`],
    ["registered", dayAndTime(node.registeredAt)],
    ["last seen", node.lastSeenAt === undefined ? "never" : dayAndTime(node.lastSeenAt)],
    ["versions", known && `cluster ${plainLine(known.version)}, Node ${plainLine(known.nodeVersion)}`],
  ]);
}

/** What there is to know of a machine before it is let in, a line for each; whoever does that compares the keys. */
export function waitingLines(nodes: readonly Node[], typed: (line: string) => string): string {
  const waiting = nodes.filter(({ state }) => state === "pending");
  const lines = waiting.map(({ id, fingerprint, claimed, joinedFrom }) => {
    const said = [claimed && `says it is ${claimedText(claimed)}`, joinedFrom && `came from ${joinedText(joinedFrom)}`];
    return `${[`${id} waits to be let in: key ${fingerprint}`, ...said.filter((part) => part !== undefined)].join(", ")}\n`;
  });
  if (waiting.length === 0) return "";
  return `\n${lines.join("")}\`join\` has shown the key there; if it is the same: ${typed(`nodes approve ${waiting[0]?.id ?? ""}`)}\n`;
}

const claimedText = ({ hostname, os }: NonNullable<Node["claimed"]>): string =>
  plainLine(os === undefined ? hostname : `${hostname} (${os})`);

/** By Tailscale's word, when it joined. */
function joinedText({ address, login, machine, tags }: JoinedFrom): string {
  return plainLine([address, machine, login, ...tags].filter((part) => part !== undefined).join(", "));
}

/** What the node says of its own policy; `openclaw-cluster policy check` there says all. Lines of rules come to operators only. */
function policyRows(policy: NodeFacts["policy"] | undefined): Row[] {
  if (policy === undefined) return [];
  const { kinds, agents, tools, sessions, commands, rules, users, hours } = policy;
  const rows: Row[] = [["policy allows", kinds.join(" ") || "nothing"]];
  if (kinds.includes("agent") && agents !== undefined) rows.push(["its agents", names(agents) || "none"]);
  if (kinds.includes("tool")) rows.push(["its tools", tools === undefined ? "any" : allowedText(tools, "any")]);
  if (sessions !== undefined)
    rows.push(["its sessions", sessions.length === 0 ? "each user's own" : `each user's own, and ${names(sessions)}`]);
  if (kinds.includes("command")) rows.push(["its programs", commands === undefined ? "any" : names(commands)]);
  if (rules !== undefined) rows.push(...ruleRows(rules));
  if (users !== undefined) rows.push(["its users", allowedText(users, "everybody")]);
  if (hours !== undefined) {
    const now = hours.quiet && (hours.quiet.text === undefined ? "; now, without an end" : `; now, until ${hours.quiet.text}`);
    rows.push(["quiet hours", plainLine(`${hours.text}${now ?? ""}`)]);
  }
  return rows;
}

function ruleRows({ commands, folders, variables, secrets, leftOut }: NonNullable<NodeFacts["policy"]["rules"]>): Row[] {
  const listed = (name: string, lines: readonly string[]): Row[] => lines.map((line, index) => [index === 0 ? name : "", plainLine(line)]);
  return [
    ...listed("its commands", commands),
    ...listed("its folders", folders),
    ...(variables.length === 0 ? [] : [["its variables", names(variables)] as const]),
    ...(secrets.length === 0 ? [] : [["its secrets", names(secrets)] as const]),
    ...(leftOut === undefined ? [] : [["", `and ${leftOut} more lines`] as const]),
  ];
}

/** What its commands may take, by what that is kept, and whether there is a sandbox for them. */
function confinementRows(confinement: Confinement | undefined): Row[] {
  if (confinement === undefined) return [];
  const { limits, keeps, note, sandbox } = confinement;
  const { memoryMiB, processes, fileMiB, openFiles, nice } = limits;
  const by = (keeper: string): string =>
    keeper === "cgroup" || keeper === "rlimit" ? "" : keeper === "watch" ? " (watched)" : " (not kept)";
  const rows = [
    `memory ${mebibytes(memoryMiB)}${by(keeps.memoryMiB)}`,
    `processes ${processes}${by(keeps.processes)}`,
    `a file ${mebibytes(fileMiB)}${by(keeps.fileMiB)}`,
    `open files ${openFiles}${by(keeps.openFiles)}`,
    `nice ${nice}${keeps.nice ? "" : by("none")}`,
  ];
  const there = sandbox.available ? "there" : plainLine(`none: ${sandbox.reason ?? "?"}`);
  const only = sandbox.required.includes("**") ? "every program" : names(sandbox.required);
  return [
    ["its limits", `${rows.join(", ")}${note === undefined ? "" : plainLine(`; ${note}`)}`],
    ["its sandbox", `${sandbox.mode}, ${there}${sandbox.required.length === 0 ? "" : `; required for ${only}`}`],
  ];
}

function allowedText(
  { allow, deny }: { readonly allow: readonly string[]; readonly deny: readonly string[] },
  all: "any" | "everybody",
): string {
  const open = allow.includes("*") ? all : names(allow) || (all === "any" ? "none" : "nobody");
  return deny.length === 0 ? open : `${open}, never ${names(deny)}`;
}

function names(all: readonly string[]): string {
  const shown = all.slice(0, NAMES_SHOWN_MAX).map(plainLine).join(" ");
  return all.length > NAMES_SHOWN_MAX ? `${shown} and ${all.length - NAMES_SHOWN_MAX} more` : shown;
}
