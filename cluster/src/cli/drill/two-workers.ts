/**
 * The drill on two workers of its own: they join the running coordinator, share the drill's tasks, and one of them is
 * killed in their midst. Nothing of the user's is touched.
 */
import path from "node:path";
import type { NodeId } from "@openclaw-cluster/contract/ids";
import { foldersOf, writePrivateFile } from "../../system/folders.ts";
import { loadNodeKeys } from "../../trust/keys.ts";
import { duration } from "../time.ts";
import { startDaemon, writeHome, type Daemon } from "./daemons.ts";
import { cancelProbes, DRILL_LABEL, probe } from "./probes.ts";
import { drillNode, removeNode, sweep } from "./removal.ts";
import type { Outcome, Stage } from "./stage.ts";
import { count, measure, problemsOf, PROMISED_MS, type Measured } from "./verdict.ts";
import { Witness } from "./witness.ts";

/** The survivor has room for what is struck, as the promise presumes: what waits for a slot does not wait for the cluster. */
const SLOTS = { victim: 4, other: 16 } as const;
/** A node is ready as soon as its daemon is up; a busy machine gets some more. */
const READY_MS = 30_000;
/** For the tasks, beyond what they take undisturbed. */
const DONE_MS = 60_000;

export async function drillTwoWorkers(stage: Stage, tasks: number): Promise<Outcome> {
  const { session, signal, progress, ground } = stage;
  const client = await session.client();
  const swept = await sweep(client);
  if (swept.length > 0) progress.say(`an earlier drill had left ${swept.join(" and ")} behind; taken out of the cluster`);

  const witness = new Witness(client);
  stage.undoLater("the event stream", () => witness.close());
  progress.step("starting two workers for the drill");
  const victim = drillNode(1, ground.id);
  const other = drillNode(2, ground.id);
  await letIn(stage, victim, SLOTS.victim);
  await letIn(stage, other, SLOTS.other);
  const [doomed] = await startBoth(stage, [victim, other]);
  for (const node of [victim, other])
    await witness.until(`${node} is ready`, () => (witness.stateOf(node) === "ready" ? true : undefined), { limitMs: READY_MS, signal });

  progress.step(`submitting ${count(tasks, "task")} that only these two may run`);
  stage.undoLater("the drill's tasks", () => cancelProbes(client, ground.id));
  await witness.expect(() => client.submitMany(Array.from({ length: tasks }, () => probe(ground.id, [victim, other]))));
  const busy = (): true | undefined => (witness.runningOn(victim) > 0 && witness.runningOn(other) > 0 ? true : undefined);
  await witness.until("both workers are busy", busy, { limitMs: READY_MS, signal });

  const aheadMs = await coordinatorAheadMs(stage);
  progress.step(`both are busy: killing ${victim} (kill -9)`);
  const blow = { node: victim, at: Math.round(Date.now() + aheadMs) };
  await doomed.kill();
  const limitMs = DONE_MS + tasks * 100;
  const over = (): true | undefined => {
    progress.news(`${victim} was killed; ${tasks - witness.open} of ${tasks} tasks are over`);
    return witness.open === 0 ? true : undefined;
  };
  await witness.until("all tasks are over", over, { limitMs, signal });
  return judge(measure(witness.events, witness.tasks, blow), victim, other);
}

function judge(measured: Measured, victim: NodeId, other: NodeId): Outcome {
  const problems = problemsOf(measured, PROMISED_MS.closed);
  if (measured.struck === 0) problems.push(`${victim} held no task when it was killed, so nothing was shown; try again, with more --tasks`);
  return {
    form: "workers",
    problems,
    headline: `${victim} was killed at work`,
    facts: factsOf(measured, victim, `on ${other}, promised within ${duration(PROMISED_MS.closed)}`),
    measured,
  };
}

/** `promise`: where it started again, and within which time it should. */
export function factsOf(measured: Measured, victim: NodeId, promise: string): Outcome["facts"] {
  const { takenBackMs, startedAgainMs } = measured;
  return [
    ["tasks", `${measured.succeeded} of ${measured.tasks} succeeded`],
    ["struck", `${measured.struck} were held by ${victim}`],
    ["taken back", takenBackMs === undefined ? undefined : `after ${takenBackMs} ms`],
    ["started again", startedAgainMs === undefined ? undefined : `after ${startedAgainMs} ms at the latest, ${promise}`],
    ["lost", String(measured.lost)],
    ["accepted twice", String(measured.acceptedTwice)],
    ["whole work", duration(measured.wholeMs)],
  ];
}

/** As `join` does it. Whoever may not let nodes in is told so here, before anything has begun. */
async function letIn({ session, ground, undoLater }: Stage, node: NodeId, slots: number): Promise<void> {
  const client = await session.client();
  const { urls, token } = await session.connection();
  const home = homeOf(ground.folder, node);
  const folders = foldersOf(home);
  const place = { url: [...urls], tokenFile: folders.coordinatorToken };
  await writeHome(home, { nodeId: node, roles: ["worker"], slots, labels: { [DRILL_LABEL]: ground.id }, coordinator: place });
  const { publicKey } = await loadNodeKeys(folders.nodeSeed);
  await client.enrol({ id: node, publicKey });
  undoLater(`the node ${node} (openclaw-cluster nodes remove ${node})`, () => removeNode(client, node));
  await writePrivateFile(folders.coordinatorToken, `${token}\n`);
}

/** Waits for both, also when one fails: what is up must be known to whoever undoes it. */
async function startBoth(stage: Stage, [first, second]: readonly [NodeId, NodeId]): Promise<[Daemon, Daemon]> {
  const [one, two] = await Promise.allSettled([startWorker(stage, first), startWorker(stage, second)]);
  if (one.status === "rejected") throw one.reason;
  if (two.status === "rejected") throw two.reason;
  return [one.value, two.value];
}

async function startWorker({ session, ground, signal, undoLater }: Stage, node: NodeId): Promise<Daemon> {
  const daemon = await startDaemon(homeOf(ground.folder, node), session.terminal.env, signal);
  undoLater(`the process ${daemon.pid}`, () => daemon.stop());
  return daemon;
}

const homeOf = (folder: string, node: NodeId): string => path.join(folder, node);

/** By how much the coordinator's clock is ahead of this machine's, give or take half the time of a request. */
async function coordinatorAheadMs({ session }: Stage): Promise<number> {
  const client = await session.client();
  const asked = Date.now();
  const { checkedAt } = await client.health();
  return checkedAt - (asked + Date.now()) / 2;
}
