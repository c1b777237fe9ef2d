/**
 * The drill with a coordinator: a whole cluster of its own on this machine, in a temporary folder and on free ports, whose
 * coordinator is killed while it takes and places tasks. The user's own cluster is not touched, nor need there be one.
 *
 * What it shows is G1 to G4 of the promises: accepted is never lost, each task ends once, with one success, and a submit that
 * is repeated with its key makes nothing new.
 */
import path from "node:path";
import { setTimeout as pause } from "node:timers/promises";
import type { Client } from "@openclaw-cluster/contract/client/client";
import { ClusterError } from "@openclaw-cluster/contract/errors";
import type { TaskId } from "@openclaw-cluster/contract/ids";
import { TERMINAL, type Attempt, type Submitted, type Task } from "@openclaw-cluster/contract/task";
import { foldersOf, readSecret } from "../../system/folders.ts";
import { openConnection } from "../session.ts";
import { duration } from "../time.ts";
import { startDaemon, writeHome } from "./daemons.ts";
import { probe } from "./probes.ts";
import type { Outcome, Stage } from "./stage.ts";
import { count, notOnce } from "./verdict.ts";

const WORKERS = ["worker1", "worker2"] as const;
const SLOTS = 4;
const READY_MS = 30_000;
const DONE_MS = 60_000;
const LOOK_MS = 20;
/** From the start of the coordinator's next life to its first placing (DESIGN §6). */
const PROMISED_MS = 5_000;

interface Lead {
  readonly url: string;
  readonly client: Client;
  kill(): Promise<void>;
  /** With the same home and at the same address. */
  startAgain(): Promise<void>;
}

export async function drillCoordinator(stage: Stage, tasks: number): Promise<Outcome> {
  const { progress, ground } = stage;
  progress.step("starting a cluster of the drill's own: a coordinator and two workers");
  const lead = await startLead(stage);
  const { url, client } = lead;
  for (const id of WORKERS) await startWorker(stage, id, url);
  await until(stage, "both workers are ready", READY_MS, async () => (await client.nodesOnline()).nodes.length === WORKERS.length);

  // One submit for each task, each with a key of its own: that is what a careful program does.
  const submit = (n: number): Promise<Submitted> => client.submit(probe(ground.id, []), { idempotencyKey: `${ground.id}-${n}` });
  const numbers = Array.from({ length: tasks }, (_, n) => n);
  const half = Math.ceil(tasks / 2);
  progress.step(`submitting ${count(tasks, "task")}`);
  const accepted = await Promise.all(numbers.slice(0, half).map(submit));
  await until(stage, "tasks run", READY_MS, async () => ((await client.cluster()).tasks.running ?? 0) > 0);
  const pending = numbers.slice(half).map(submit);
  const unanswered = countUnanswered(pending);
  await Promise.race(pending);
  progress.step("killing the coordinator (kill -9) while it takes and places tasks");
  const killedAt = Date.now();
  const inFlight = unanswered();
  await lead.kill();

  progress.step("starting it again");
  const startedAt = Date.now();
  await lead.startAgain();
  const upMs = Date.now() - startedAt;
  const ids = [...accepted, ...(await Promise.all(pending))].map(({ id }) => id);
  const ended = await untilOver(stage, client, ids);
  progress.step("submitting the same again, with the same keys");
  const again = await Promise.all(numbers.map(submit));
  return judge({ ids, again, ended, inFlight, killedAt, startedAt, upMs, ...(await census(client, ids)) });
}

interface Found {
  readonly ids: readonly TaskId[];
  readonly again: readonly Submitted[];
  readonly ended: readonly Task[];
  /** Submits that had no answer yet when the coordinator died. */
  readonly inFlight: number;
  readonly killedAt: number;
  readonly startedAt: number;
  readonly upMs: number;
  /** Every task that the cluster has. */
  readonly known: number;
  readonly attempts: readonly (readonly Attempt[])[];
}

function judge({ ids, again, ended, inFlight, killedAt, startedAt, upMs, known, attempts }: Found): Outcome {
  const tasks = ids.length;
  const succeeded = ended.filter(({ state }) => state === "succeeded").length;
  const acceptedTwice = attempts.filter((all) => all.filter(({ outcome }) => outcome === "succeeded").length > 1).length;
  const strangers = again.filter(({ id }, n) => id !== ids[n]).length;
  const placings = attempts
    .flat()
    .map(({ offeredAt }) => offeredAt)
    .filter((at) => at > killedAt);
  const placingMs = placings.length === 0 ? undefined : Math.min(...placings) - startedAt;
  const lost = tasks - succeeded;
  const problems = notOnce({ lost, acceptedTwice });
  if (strangers > 0) problems.push(`${count(strangers, "repeated submit")} gave another task than before`);
  if (known !== tasks) problems.push(`the cluster knows ${count(known, "task")}, but ${tasks} were submitted`);
  if (placingMs !== undefined && placingMs > PROMISED_MS)
    problems.push(`the first task was placed only after ${placingMs} ms; promised are ${PROMISED_MS} ms`);
  return {
    form: "coordinator",
    problems,
    headline: "the coordinator was killed at work",
    facts: [
      ["tasks", `${succeeded} of ${tasks} succeeded`],
      ["in flight", `${count(inFlight, "submit")} had no answer yet when it died; all got one`],
      ["up again", `after ${upMs} ms`],
      ["placing again", placingMs === undefined ? undefined : `after ${placingMs} ms, promised within ${duration(PROMISED_MS)}`],
      ["lost", String(lost)],
      ["accepted twice", String(acceptedTwice)],
      ["same keys", `${tasks - strangers} of ${tasks} gave the same task again`],
    ],
    measured: { tasks, succeeded, lost, acceptedTwice, inFlight, upMs, placingMs, sameIds: tasks - strangers, known },
  };
}

async function startLead(stage: Stage): Promise<Lead> {
  const { ground, session, signal, undoLater } = stage;
  const home = path.join(ground.folder, "lead");
  await writeHome(home, { nodeId: "lead", roles: ["coordinator"], clusterName: `drill ${ground.id}`, api: { port: 0 }, nats: { port: 0 } });
  let daemon = await startDaemon(home, session.terminal.env, signal);
  // Before the workers start, so that it ends after them and they can say goodbye.
  undoLater("the drill's coordinator", () => daemon.stop());
  const { apiUrl: url } = daemon;
  const token = await readSecret(foldersOf(home).adminToken);
  if (url === undefined || token === undefined) throw new ClusterError("internal", "the drill's coordinator has no address or no token");
  const client = await openConnection({ url, token });
  undoLater("the connection to it", () => client.close());
  return {
    url,
    client,
    kill: () => daemon.kill(),
    startAgain: async () => {
      daemon = await startDaemon(home, session.terminal.env, signal, "--port", new URL(url).port);
    },
  };
}

async function startWorker({ ground, session, signal, undoLater }: Stage, id: string, url: string): Promise<void> {
  const home = path.join(ground.folder, id);
  const tokenFile = foldersOf(path.join(ground.folder, "lead")).adminToken;
  await writeHome(home, { nodeId: id, roles: ["worker"], slots: SLOTS, coordinator: { url, tokenFile } });
  const daemon = await startDaemon(home, session.terminal.env, signal);
  undoLater(`the process ${daemon.pid} of ${id}`, () => daemon.stop());
}

function countUnanswered(pending: readonly Promise<Submitted>[]): () => number {
  let open = pending.length;
  // Whether one fails is the business of whoever waits for its answer.
  for (const one of pending) void one.then(() => (open -= 1)).catch(() => undefined);
  return () => open;
}

async function untilOver(stage: Stage, client: Client, ids: readonly TaskId[]): Promise<Task[]> {
  const ended = new Map<TaskId, Task>();
  await until(stage, "all tasks are over", DONE_MS + ids.length * 100, async () => {
    for (const id of ids) {
      if (ended.has(id)) continue;
      const task = await client.getTask({ id });
      if (TERMINAL.has(task.state)) ended.set(id, task);
    }
    stage.progress.news(`the coordinator is back; ${ended.size} of ${ids.length} tasks are over`);
    return ended.size === ids.length;
  });
  return [...ended.values()];
}

async function census(client: Client, ids: readonly TaskId[]): Promise<{ known: number; attempts: Attempt[][] }> {
  const attempts: Attempt[][] = [];
  for (const id of ids) attempts.push((await client.attempts({ id })).attempts);
  const { tasks } = await client.cluster();
  return { known: Object.values(tasks).reduce((sum, amount) => sum + amount, 0), attempts };
}

async function until({ signal }: Stage, what: string, limitMs: number, holds: () => Promise<boolean>): Promise<void> {
  const giveUpAt = performance.now() + limitMs;
  while (!(await holds())) {
    signal.throwIfAborted();
    if (performance.now() > giveUpAt) throw new ClusterError("unavailable", `waited ${limitMs / 1_000} s in vain for this: ${what}`);
    await pause(LOOK_MS, undefined, { signal });
  }
}
