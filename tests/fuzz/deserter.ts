/**
 * A node that begins what it is given, and then lives another life in which it knows nothing of it: so tasks that may not run again
 * by themselves wait for a person's answer.
 */
import type { Client } from "@openclaw-cluster/contract/client/client";
import type { TaskId } from "@openclaw-cluster/contract/ids";
import { TERMINAL, type TaskState } from "@openclaw-cluster/contract/task";
import type { TaskSpec } from "@openclaw-cluster/contract/task-spec";
import type { Report } from "@openclaw-cluster/contract/wire";
import { reportFrom } from "../../cluster/src/bus/subjects.ts";
import { playNode, type HandNode } from "../support/hand-node.ts";
import type { RamCluster } from "../support/ram-cluster.ts";

export const DESERTER = "deserter";
/** Of the event loop; what is waited for takes some ten. */
const TURNS_MAX = 10_000;
/** Counts its reports apart from what the node of support/ counts: far above. */
const SAID_FROM = 1_000_000;

export class Deserter {
  private readonly client: Client;
  private readonly cluster: RamCluster;
  private readonly node: HandNode;
  private readonly tasks: readonly TaskId[];
  private boot = 1;

  private constructor(client: Client, cluster: RamCluster, node: HandNode, tasks: readonly TaskId[]) {
    this.client = client;
    this.cluster = cluster;
    this.node = node;
    this.tasks = tasks;
  }

  static async open(client: Client, cluster: RamCluster, count: number): Promise<Deserter> {
    const node = await playNode(cluster, DESERTER);
    const spec: TaskSpec = { kind: "echo", input: {}, onLost: "ask", require: { nodes: [node.id] } };
    const tasks = await client.submitMany(Array.from({ length: count }, () => spec));
    return new Deserter(
      client,
      cluster,
      node,
      tasks.map(({ id }) => id),
    );
  }

  /** All of its tasks, which were cancelled, wait for an answer. */
  async desert(): Promise<void> {
    const { client, node } = this;
    // With its earlier life ends what it was to stop.
    node.beat(++this.boot);
    await this.until(() => this.all((state) => TERMINAL.has(state)), "the end of its tasks");
    const before = node.offers.length;
    for (const id of this.tasks) await client.retry({ id });
    await this.until(async () => node.offers.length - before >= this.tasks.length, "its offers");
    this.begin(before);
    await this.until(() => this.all((state) => state === "running"), "its tasks to run");
    node.beat(++this.boot);
    await this.until(() => this.all((state) => state === "waiting"), "its tasks to wait");
  }

  async close(): Promise<void> {
    await this.node.close();
  }

  private begin(from: number): void {
    const started = this.node.offers.slice(from).map(({ task, attempt, epoch }) => ({ task, attempt, epoch, at: 1 }));
    const report: Report = { boot: this.boot, n: SAID_FROM + this.boot, started, progressed: [], finished: [] };
    this.cluster.net.connect(DESERTER).publish(reportFrom(this.node.id), report);
  }

  private async all(isSo: (state: TaskState) => boolean): Promise<boolean> {
    const tasks = await Promise.all(this.tasks.map((id) => this.client.getTask({ id })));
    return tasks.every(({ state }) => isSo(state));
  }

  private async until(isSo: () => Promise<boolean>, what: string): Promise<void> {
    for (let turn = 0; !(await isSo()); turn += 1) {
      if (turn === TURNS_MAX) throw new Error(`${DESERTER} waits in vain for ${what}`);
      await new Promise((resolve) => void setImmediate(resolve));
    }
  }
}
