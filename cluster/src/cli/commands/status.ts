/** `status`: the cluster on one screen. */
import type { ClusterView, Health, QueueView } from "@openclaw-cluster/contract/cluster";
import type { Task } from "@openclaw-cluster/contract/task";
import type { Node } from "@openclaw-cluster/contract/node";
import type { Command } from "commander";
import { examples, type Act } from "../command.ts";
import { controlLine } from "../control-view.ts";
import { nodeTable } from "../node-view.ts";
import type { Session } from "../session.ts";
import { facts } from "../table.ts";
import { askingLine } from "../task-view.ts";
import { paint, plainLine, type Terminal } from "../terminal.ts";
import { age, duration, mebibytes } from "../time.ts";

interface Status {
  readonly cluster: ClusterView;
  readonly health: Health;
  readonly queue: QueueView;
  readonly nodes: readonly Node[];
}

/** Tasks that wait for a person and are told with their command. */
const ASKING_MAX = 3;

export function configure(command: Command, act: Act): void {
  examples(command, "status", "status --json").addHelpText("after", "\nExit code 1 when something is wrong.").action(act(status));
}

async function status(session: Session): Promise<number> {
  const client = await session.client();
  const url = await session.url();
  const [cluster, health, queue, { nodes }] = await Promise.all([
    client.cluster(),
    client.health(),
    client.queue({ limit: 1 }),
    client.nodes(),
  ]);
  const waiting = queue.waiting === 0 ? [] : (await client.listTasks({ state: "waiting", limit: ASKING_MAX })).tasks;
  // For another's task only its owner can answer, or an operator.
  const asking = waiting.filter(({ hidden }) => hidden !== true);
  const all: Status = { cluster, health, queue, nodes };
  session.show(all, () => statusText(session, url, all, asking, Date.now()));
  return health.status === "ok" ? 0 : 1;
}

function statusText(
  { terminal, typed }: Session,
  url: string,
  { cluster, health, queue, nodes }: Status,
  asking: readonly Task[],
  now: number,
): string {
  const { tasks, store, bus } = cluster;
  const head = facts(terminal, [
    ["cluster", `${plainLine(cluster.name)} (${cluster.id}), ${wellness(terminal, health)}`],
    [
      "coordinator",
      `${cluster.coordinator} at ${url}, version ${plainLine(cluster.version)}, up ${duration(now - cluster.startedAt)}, term ${cluster.epoch}`,
    ],
    ["control", controlLine(cluster)],
    ["slots", `${cluster.slotsUsed} of ${cluster.slots} taken`],
    ["work", `${tasks.running ?? 0} running, ${queue.queued} queued, ${queue.scheduled} for later, ${queue.waiting} waiting for a person`],
    ["done", `${tasks.succeeded ?? 0} succeeded, ${tasks.failed ?? 0} failed, ${tasks.cancelled ?? 0} cancelled`],
    ["store", storeText(store, now)],
    [
      "bus",
      bus.connected
        ? `connected${bus.version === undefined ? "" : `, nats-server ${plainLine(bus.version)}`}`
        : paint(terminal, "red", "down"),
    ],
  ]);
  const lines = [...health.problems.map(plainLine), ...asking.map((task) => askingLine(task, typed))];
  if (queue.waiting > asking.length) lines.push(`${queue.waiting - asking.length} more wait for a person: ${typed("ps --state waiting")}`);
  const problems = lines.map((line) => `${paint(terminal, "yellow", "!")} ${line}\n`).join("");
  const list = nodes.length === 0 ? "no nodes\n" : nodeTable(terminal, nodes, now);
  return `${head}${problems === "" ? "" : `\n${problems}`}\n${list}`;
}

function storeText({ kind, bytes, backup }: ClusterView["store"], now: number): string {
  const size = bytes === undefined ? "" : `, ${mebibytes(bytes / 1_048_576)}`;
  return `${kind}${size}${kind === "ram" ? "" : backup === undefined ? ", no backup" : `, backup ${age(backup.at, now)} old`}`;
}

function wellness(terminal: Terminal, { status: state, problems }: Health): string {
  if (state === "ok") return paint(terminal, "green", "all well");
  return paint(terminal, "yellow", problems.length === 1 ? "1 problem" : `${problems.length} problems`);
}
