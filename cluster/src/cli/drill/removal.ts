/**
 * Takes a drill's nodes out of the cluster again: this drill's own, and those that an earlier one left behind because it
 * was itself killed.
 *
 * Q1. Only nodes that have a drill's name and its label go, never one at work, and never one of a drill that may still be
 *     running: of this user's drills on this machine that is known, of any other it is taken for granted for an hour.
 */
import { setTimeout as pause } from "node:timers/promises";
import type { Client } from "@openclaw-cluster/contract/client/client";
import { NodeId } from "@openclaw-cluster/contract/ids";
import { isAway, type Node } from "@openclaw-cluster/contract/node";
import { failureOf } from "../failure.ts";
import { forsakenGrounds } from "./ground.ts";
import { cancelProbes } from "./probes.ts";

/** A node that has just ended may hold leases until its silence has told. */
const GOING_MS = 40_000;
const LOOK_MS = 200;
/** No drill lasts so long. */
const OVER_MS = 3_600_000;
const NAME = /^drill[12]([a-z2-7]{6})$/;

/** Sorts before others in no list, and says what it is. */
export function drillNode(which: 1 | 2, drill: string): NodeId {
  return NodeId.parse(`drill${which}${drill}`);
}

/** As soon as the coordinator lets it go. It may be gone already. */
export async function removeNode(client: Client, id: NodeId): Promise<void> {
  const giveUpAt = performance.now() + GOING_MS;
  for (;;) {
    try {
      await client.removeNode({ id });
      return;
    } catch (error) {
      const { code } = failureOf(error);
      if (code === "not_found") return;
      if (code !== "state_conflict" || performance.now() > giveUpAt) throw error;
      await pause(LOOK_MS);
    }
  }
}

/** Gives the ids of the nodes that went. */
export async function sweep(client: Client): Promise<NodeId[]> {
  const grounds = new Map((await forsakenGrounds()).map((ground) => [ground.id, ground]));
  const { nodes } = await client.nodes({ all: true });
  const { checkedAt: now } = await client.health();
  const swept: NodeId[] = [];
  for (const node of nodes) {
    const drill = NAME.exec(node.id)?.[1];
    if (drill === undefined) continue;
    const over = grounds.has(drill) || now - node.registeredAt > OVER_MS;
    if (over && isGone(node)) {
      await cancelProbes(client, drill);
      await removeNode(client, node.id);
      swept.push(node.id);
    } else {
      // Its daemon is still going down in there.
      grounds.delete(drill);
    }
  }
  for (const ground of grounds.values()) await ground.remove();
  return swept;
}

function isGone({ state }: Node): boolean {
  return isAway(state);
}
