/**
 * A small load of everything that a task can go through, as a client sends it: quick and slow work, work with an effect
 * that can be counted, work that is due later, and work that is cancelled before and while it runs. Whatever was
 * answered goes into a record of promises, and they are held against the cluster when nothing is open any more.
 */
import { randomUUID } from "node:crypto";
import { mkdir } from "node:fs/promises";
import path from "node:path";
import type { NodeId, TaskId } from "@openclaw-cluster/contract/ids";
import { LIMITS } from "@openclaw-cluster/contract/limits";
import { TERMINAL, type TaskState } from "@openclaw-cluster/contract/task";
import type { OnLost, TaskSpec } from "@openclaw-cluster/contract/task-spec";
import { until, type TestCluster } from "./daemon.ts";
import { Promises } from "./promises.ts";

/** What a node's policy must allow for it. */
export const LOAD_POLICY = { allow: { commands: [["tee", "-a", "*"]] } };

/** The node on which the work with an effect runs: the one that a test strikes. */
const EFFECTS_ON = ["one" as NodeId];
/** Runs that are worth keeping on the worker's disk take at least a second. */
const SLOW_MS = 1_100;
const DUE_MS = 500;
const ENDLESS_MS = 600_000;
/** Until nothing is open any more. */
const SETTLED_MS = 60_000;
const CANCELLED_MS = 60_000;

export class MixedLoad {
  readonly promises = new Promises();
  private readonly cluster: Pick<TestCluster, "client" | "folder">;

  /** Its nodes need LOAD_POLICY. */
  constructor(cluster: Pick<TestCluster, "client" | "folder">) {
    this.cluster = cluster;
  }

  /** Begins once more. Resolves when everything was sent and answered, and what is to be cancelled is. */
  start(): Promise<void> {
    const sent = this.send(randomUUID());
    // Whoever awaits it hears of a failure; until then it must not count as nobody's.
    sent.catch(() => undefined);
    return sent;
  }

  /** Resolves when more is answered than now. */
  async someAnswered(): Promise<void> {
    const before = this.promises.count;
    await until("some are answered", () => (this.promises.count > before ? true : undefined));
  }

  /** When nothing is open any more: what was promised and is not so. */
  async broken(): Promise<string[]> {
    await this.settle();
    return this.promises.broken(this.cluster.client);
  }

  private async send(batch: string): Promise<void> {
    const submit = (name: string, spec: TaskSpec): Promise<TaskId> => this.submit(batch, name, spec);
    const effect = (name: string, onLost: OnLost): Promise<TaskId> => {
      const file = path.join(this.effects, `${batch}-${name}`);
      this.promises.effectIn(file, onLost);
      return submit(name, {
        kind: "command",
        input: { argv: ["tee", "-a", file], stdin: "ran\n" },
        onLost,
        require: { nodes: EFFECTS_ON },
      });
    };
    await mkdir(this.effects, { recursive: true });
    await Promise.all([
      ...[1, 2, 3].map((value) => submit(`quick-${value}`, { kind: "echo", input: { value } })),
      ...[1, 2].map((value) => submit(`slow-${value}`, { kind: "echo", input: { value, delayMs: SLOW_MS } })),
      submit("later", { kind: "echo", input: { value: "later" }, runAt: Date.now() + DUE_MS }),
      effect("may-repeat", "retry"),
      effect("must-not-repeat", "fail"),
      effect("must-ask", "ask"),
      submit("waits", { kind: "echo", input: {}, require: { labels: { nowhere: "yes" } } }).then((id) => this.cancel(id)),
      submit("endless", { kind: "echo", input: { delayMs: ENDLESS_MS } }).then(async (id) => {
        await until("it runs", async () => ((await this.stateOf(id)) === "queued" ? undefined : true), CANCELLED_MS);
        await this.cancel(id);
      }),
    ]);
  }

  private async submit(batch: string, name: string, spec: TaskSpec): Promise<TaskId> {
    const whole = { ...spec, name, labels: { batch } } as TaskSpec;
    const key = `${batch}-${name}`;
    const { id } = await this.cluster.client.submit(whole, { idempotencyKey: key });
    this.promises.submitted(id, { key, spec: whole });
    return id;
  }

  private async cancel(id: TaskId): Promise<void> {
    // Answered or not, it is asked for again when the coordinator is back.
    const ask = (): Promise<unknown> => this.cluster.client.cancel({ id }).catch(() => undefined);
    await ask();
    await until(
      `${id} is cancelled`,
      async () => {
        const state = await this.stateOf(id);
        if (state === "cancelled") return this.promises.cancelled(id);
        if (state !== "cancelling") await ask();
        return undefined;
      },
      CANCELLED_MS,
    );
  }

  /** Decides on what waits for a person, until nothing is open any more. */
  private async settle(): Promise<void> {
    const { client } = this.cluster;
    await until(
      "nothing is open",
      async () => {
        const { tasks } = await client.listTasks({ state: "waiting", limit: LIMITS.listMax });
        for (const { id } of tasks) await client.answer({ id, decision: "fail" });
        const counts = (await client.cluster()).tasks;
        return Object.entries(counts).every(([state, count]) => count === 0 || TERMINAL.has(state as TaskState)) ? true : undefined;
      },
      SETTLED_MS,
    );
  }

  private async stateOf(id: TaskId): Promise<TaskState> {
    return (await this.cluster.client.getTask({ id })).state;
  }

  /** Effects are counted in files there. */
  private get effects(): string {
    return path.join(this.cluster.folder, "effects");
  }
}
