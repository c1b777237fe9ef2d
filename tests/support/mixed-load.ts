/**
 * A small load of everything that a task can go through, as a client sends it: quick and slow work, work with an effect
 * that can be counted, work that is due later, and work that is cancelled before and while it runs. Whatever was
 * answered is told to a record of promises.
 */
import { randomUUID } from "node:crypto";
import { mkdir } from "node:fs/promises";
import path from "node:path";
import type { Client } from "@openclaw-cluster/contract/client/client";
import type { NodeId, TaskId } from "@openclaw-cluster/contract/ids";
import { TERMINAL } from "@openclaw-cluster/contract/task";
import type { OnLost, TaskSpec } from "@openclaw-cluster/contract/task-spec";
import { until } from "./daemon.ts";
import type { Promises } from "./promises.ts";

/** What a node's policy must allow for it. */
export const LOAD_POLICY = { allow: { commands: [["tee", "-a", "*"]] } };

/** The node on which the work with an effect runs: the one that a test strikes. */
const EFFECTS_ON = ["one" as NodeId];
/** Runs that are worth keeping on the worker's disk take at least a second. */
const SLOW_MS = 1_100;
const DUE_MS = 500;
const ENDLESS_MS = 600_000;

export interface Load {
  /** Everything was sent and answered; what is to be cancelled is. */
  readonly sent: Promise<void>;
}

/** `folder`: effects are counted in files there. Nodes need LOAD_POLICY. */
export function startLoad(client: Client, promises: Promises, folder: string): Load {
  const batch = randomUUID();
  const submit = async (name: string, spec: TaskSpec): Promise<TaskId> => {
    const whole = { ...spec, name, labels: { batch } } as TaskSpec;
    const key = `${batch}-${name}`;
    const { id } = await client.submit(whole, { idempotencyKey: key });
    promises.submitted(key, whole, id);
    return id;
  };
  const cancel = async (id: TaskId): Promise<void> => {
    // Answered or not, it is asked for again when the coordinator is back.
    await client.cancel({ id }).catch(() => undefined);
    await until(
      `${id} is cancelled`,
      async () => {
        const { state } = await client.getTask({ id });
        if (state === "cancelled") return promises.cancelled(id);
        if (state !== "cancelling") await client.cancel({ id }).catch(() => undefined);
        return undefined;
      },
      60_000,
    );
  };
  const effect = (name: string, onLost: OnLost): Promise<TaskId> => {
    const file = path.join(folder, `${batch}-${name}`);
    promises.effectIn(file, onLost);
    return submit(name, { kind: "command", input: { argv: ["tee", "-a", file], stdin: "ran\n" }, onLost, require: { nodes: EFFECTS_ON } });
  };
  const send = async (): Promise<void> => {
    await mkdir(folder, { recursive: true });
    await Promise.all([
      ...[1, 2, 3].map((value) => submit(`quick-${value}`, { kind: "echo", input: { value } })),
      ...[1, 2].map((value) => submit(`slow-${value}`, { kind: "echo", input: { value, delayMs: SLOW_MS } })),
      submit("later", { kind: "echo", input: { value: "later" }, runAt: Date.now() + DUE_MS }),
      effect("may-repeat", "retry"),
      effect("must-not-repeat", "fail"),
      effect("must-ask", "ask"),
      submit("waits", { kind: "echo", input: {}, require: { labels: { nowhere: "yes" } } }).then(cancel),
      submit("endless", { kind: "echo", input: { delayMs: ENDLESS_MS } }).then(async (id) => {
        await until("it runs", async () => ((await client.getTask({ id })).state === "queued" ? undefined : true), 60_000);
        await cancel(id);
      }),
    ]);
  };
  const sent = send();
  // Whoever awaits it hears of a failure; until then it must not count as nobody's.
  sent.catch(() => undefined);
  return { sent };
}

/** Decides on what waits for a person, until nothing is open any more. */
export async function settleAll(client: Client, limitMs = 60_000): Promise<void> {
  await until(
    "nothing is open",
    async () => {
      const { tasks } = await client.listTasks({ state: "waiting", limit: 500 });
      for (const { id } of tasks) await client.answer({ id, decision: "fail" });
      const counts = (await client.cluster()).tasks;
      return Object.entries(counts).every(([state, count]) => count === 0 || TERMINAL.has(state as never)) ? true : undefined;
    },
    limitMs,
  );
}
