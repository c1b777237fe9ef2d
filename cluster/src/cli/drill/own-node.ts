/**
 * The drill with a machine of the user's own: a few short tasks are kept going on it and on one other, until a person pulls
 * its plug. When that is cannot be known from here; time counts from the node's last sign of life, which is at most one task
 * (PROBE_MS) older.
 */
import { setTimeout as pause } from "node:timers/promises";
import type { Client } from "@openclaw-cluster/contract/client/client";
import { ClusterError } from "@openclaw-cluster/contract/errors";
import type { NodeId } from "@openclaw-cluster/contract/ids";
import { isAway, saidGoodbye, type Node, type NodeState } from "@openclaw-cluster/contract/node";
import { duration } from "../time.ts";
import { cancelProbes, probe, PROBE_MS } from "./probes.ts";
import type { Outcome, Stage } from "./stage.ts";
import { factsOf } from "./two-workers.ts";
import { measure, problemsOf, PROMISED_MS, type Loss } from "./verdict.ts";
import { Witness } from "./witness.ts";

/** Kept going together, half of them on each node: little beside real work. */
const AT_ONCE = 4;
const LOOK_MS = 50;
const BUSY_MS = 30_000;
/** For what was struck, beyond the time that is promised. */
const DONE_MS = 60_000;
/** A node that came back takes a task and ends it. */
const PROVED_MS = 30_000;
/** `goodbye`: nothing was struck, the node had handed its work over. */
type Seen = Loss | "goodbye";

const TOLD: Record<Seen, string> = {
  closed: "closed its connection",
  silent: "fell silent",
  laptop: "fell silent (a laptop: it has 60 s)",
  goodbye: "said goodbye",
};

export async function drillOwnNode(stage: Stage, id: NodeId, waitMs: number): Promise<Outcome> {
  const { session, signal, progress, ground } = stage;
  const client = await session.client();
  const [node, other] = await choosePair(client, id);
  const witness = new Witness(client);
  stage.undoLater("the event stream", () => witness.close());
  stage.undoLater("the drill's tasks", () => cancelProbes(client, ground.id));

  progress.step(`keeping ${AT_ONCE} short tasks at work on ${id} and ${other.id}`);
  const busy = keepBusy(stage, witness, client, [id, other.id]);
  try {
    await witness.until(`${id} is at work`, () => (witness.runningOn(id) > 0 ? true : undefined), { limitMs: BUSY_MS, signal });
    progress.say(`${id} is at work. Now pull its plug, close its lid, or kill its daemon.`);
    await untilWithCountdown(stage, witness, `waiting for the loss of ${id}`, waitMs, () =>
      witness.stateOf(id) === undefined || witness.stateOf(id) === "ready" ? undefined : true,
    );
  } finally {
    await busy.stop();
  }
  const seen = await watchLoss(stage, witness, node);
  progress.step(`${id} ${TOLD[seen]}; waiting for its tasks to end on ${other.id}`);
  const promisedMs = PROMISED_MS[seen === "goodbye" ? "closed" : seen];
  await witness.until("all tasks are over", () => (witness.open === 0 ? true : undefined), { limitMs: promisedMs + DONE_MS, signal });
  const at = await lastSignOfLife(client, witness, id);
  const returned = await watchReturn(stage, witness, client, id, waitMs);
  const measured = measure(witness.events, witness.tasks, { node: id, at });
  const problems = problemsOf(measured, promisedMs + PROBE_MS);
  if (returned === "unwell") problems.push(`${id} came back, but a task for it did not succeed`);
  return {
    form: "node",
    problems,
    headline: `${id} ${TOLD[seen]}`,
    facts: [
      ...factsOf(measured, id, `on ${other.id}, promised within ${duration(promisedMs)}; counted from its last sign of life`),
      ["came back", returned === "away" ? `not within ${duration(waitMs)}` : returned],
    ],
    measured: { ...measured, node: id, loss: seen, promisedMs, returned },
  };
}

async function choosePair(client: Client, id: NodeId): Promise<readonly [Node, Node]> {
  const node = await client.node({ id });
  const conflict = (detail: string): ClusterError => new ClusterError("state_conflict", detail);
  if ((await client.cluster()).coordinator === id)
    throw conflict(`${id} runs the coordinator; see what its death does with: openclaw-cluster drill --coordinator`);
  if (!isOpen(node))
    throw conflict(`${id} takes no probes now (${node.state}${node.draining ? ", draining" : ""}); it must be ready, and allow echo`);
  const others = (await client.nodes()).nodes.filter((one) => one.id !== id && isOpen(one));
  const [roomiest] = others.sort((a, b) => b.slots - b.slotsUsed - (a.slots - a.slotsUsed));
  if (roomiest === undefined)
    throw conflict(`no other node could take over the tasks of ${id}; start a second one, or drill without --node`);
  return [node, roomiest];
}

function isOpen({ state, draining, facts }: Node): boolean {
  return state === "ready" && !draining && facts?.policy.kinds.includes("echo") === true;
}

/** As soon as one is over, the next is submitted. */
function keepBusy({ ground, signal }: Stage, witness: Witness, client: Client, nodes: readonly NodeId[]): { stop(): Promise<void> } {
  let stopped = false;
  let fault: unknown;
  const feed = async (): Promise<void> => {
    while (!stopped && !signal.aborted) {
      const missing = AT_ONCE - witness.open;
      if (missing > 0) await witness.expect(() => client.submitMany(Array.from({ length: missing }, () => probe(ground.id, nodes))));
      await pause(LOOK_MS);
    }
  };
  const feeding = feed().catch((error: unknown) => (fault = error));
  return {
    stop: async () => {
      stopped = true;
      await feeding;
      if (fault !== undefined) throw fault;
    },
  };
}

async function watchLoss({ progress, signal }: Stage, witness: Witness, { id, labels }: Node): Promise<Seen> {
  const silence: Loss = labels["laptop"] === "yes" ? "laptop" : "silent";
  const suspected = witness.stateOf(id) === "suspect";
  if (suspected) progress.step(`${id} fell silent; it counts as lost after a while`);
  const gone = (): NodeState | undefined => {
    const state = witness.stateOf(id);
    if (state === "ready")
      throw new ClusterError("unavailable", `${id} was silent for some seconds and is back; nothing was lost, so nothing was shown`);
    return state !== undefined && state !== "removed" && isAway(state) ? state : undefined;
  };
  const state = await witness.until(`${id} is lost`, gone, { limitMs: PROMISED_MS[silence] + DONE_MS, signal });
  if (saidGoodbye(state)) return "goodbye";
  return suspected ? silence : "closed";
}

/** By the coordinator's clock: its last heartbeat, or what it told last of a task. */
async function lastSignOfLife(client: Client, witness: Witness, id: NodeId): Promise<number> {
  const { lastSeenAt = 0 } = await client.node({ id });
  const told = witness.events.filter(
    (event) => event.type === "task" && event.node === id && (event.state === "running" || event.state === "succeeded"),
  );
  return Math.max(lastSeenAt, ...told.map(({ at }) => at));
}

async function watchReturn(
  stage: Stage,
  witness: Witness,
  client: Client,
  id: NodeId,
  waitMs: number,
): Promise<"well" | "unwell" | "away"> {
  const { progress, ground } = stage;
  progress.say(`nothing more is at stake. Bring ${id} back now, to see whether it returns well.`);
  try {
    await untilWithCountdown(stage, witness, `waiting for the return of ${id}`, waitMs, () =>
      witness.stateOf(id) === "ready" ? true : undefined,
    );
  } catch (error) {
    if (error instanceof ClusterError && error.code === "unavailable") return "away";
    throw error;
  }
  progress.step(`${id} is back; giving it a task`);
  const [proof] = await client.submitMany([probe(ground.id, [id])]);
  if (proof === undefined) return "unwell";
  const { state } = await client.getTask({ id: proof.id, wait: PROVED_MS / 1_000 });
  return state === "succeeded" ? "well" : "unwell";
}

async function untilWithCountdown(
  stage: Stage,
  witness: Witness,
  what: string,
  limitMs: number,
  find: () => true | undefined,
): Promise<void> {
  const { progress, signal } = stage;
  const endsAt = performance.now() + limitMs;
  const tell = (): void =>
    progress.news(`${what} (${duration(Math.max(0, Math.ceil((endsAt - performance.now()) / 1_000) * 1_000))} left)`);
  const ticking = setInterval(tell, 1_000);
  tell();
  try {
    await witness.until(what, find, { limitMs, signal });
  } finally {
    clearInterval(ticking);
  }
}
