/**
 * `promote <node…>`: makes nodes control nodes, one after the other, and waits until each stands by. `promote --force`: lets this
 * machine go on alone, where those that had the majority are lost for good.
 */
import type { Client } from "@openclaw-cluster/contract/client/client";
import type { ControlNode } from "@openclaw-cluster/contract/cluster";
import { ClusterError } from "@openclaw-cluster/contract/errors";
import type { NodeId } from "@openclaw-cluster/contract/ids";
import type { NodeState } from "@openclaw-cluster/contract/node";
import type { Command } from "commander";
import { setTimeout as delay } from "node:timers/promises";
import { examples, type Act } from "../command.ts";
import { INTERRUPTED } from "../follow.ts";
import { forceHere } from "../forcing.ts";
import { readNodeId } from "../ids.ts";
import { endText, moveStore } from "../moving-store.ts";
import type { Session } from "../session.ts";
import { remark } from "../terminal.ts";

interface Options {
  readonly witness?: true;
  readonly force?: true;
  readonly yes?: true;
}

/** A daemon that begins anew may have to fetch etcd, and to end what runs on it. */
const STANDS_MS_MAX = 180_000;
const LOOK_MS = 500;
/** Whoever leads since a moment has not heard of every node yet; one that is really lost is told so after this. */
const HEARD_MS_MAX = 20_000;
const UNHEARD: readonly NodeState[] = ["offline", "lost", "suspect"];

export function configure(command: Command, act: Act): void {
  command
    .argument("[nodes...]")
    .option("--witness", "a third vote only: it neither leads, answers nor works")
    .option("--force", "this machine leads alone from its next start on: the other control nodes are lost for good")
    .option("--yes", "with --force: do not ask for this machine's name first");
  examples(command, "promote nas attic", "promote pi --witness", "promote --force")
    .addHelpText(
      "after",
      "\nThree control nodes go on when one of them dies; two do not, and the second is a copy that stands ready. Each node's daemon begins\n" +
        "anew: what runs on it may end within 20 s, the rest goes to other nodes. It listens for the others from then on.\n" +
        "--force is for the day on which the leader's machine is dead and nobody can take over by vote. Stop the daemon here first.",
    )
    .action(act(promote));
}

async function promote(session: Session, { witness, force, yes }: Options, texts: string[]): Promise<number> {
  if (force === true) {
    if (texts.length > 0 || witness)
      throw new ClusterError("usage", "--force is about this machine alone; name no node, and no other option");
    return forceHere(session, yes === true);
  }
  if (texts.length === 0) throw new ClusterError("usage", "name the nodes that are to become control nodes");
  const client = await session.client();
  if ((await client.cluster()).store.kind === "sqlite") {
    remark(session.terminal, "the store moves to etcd first, where control nodes share it");
    const moved = await moveStore(session, client, { to: "etcd" });
    if (moved === undefined) return INTERRUPTED;
    remark(session.terminal, endText(moved).trimEnd());
  }
  const promoted: ControlNode[] = [];
  for (const id of texts.map(readNodeId)) {
    await heard(session, client, id);
    await client.promoteNode({ id, ...(witness && { witness }) });
    remark(session.terminal, `${id} begins anew as a ${witness ? "witness" : "control node"}`);
    promoted.push(await standing(client, id));
  }
  const all = (await client.cluster()).control ?? [];
  session.show(
    { promoted, control: all },
    () => `${promoted.map(({ node, state }) => `${node} is there (${state})\n`).join("")}${advice(all.length)}`,
  );
  return 0;
}

/** Right after the store was moved, or the leader changed, `two is not ready` would be true, and of no use to anybody. */
async function heard({ terminal }: Session, client: Client, id: NodeId): Promise<void> {
  const giveUpAt = performance.now() + HEARD_MS_MAX;
  for (let tried = 0; UNHEARD.includes((await client.node({ id })).state) && performance.now() < giveUpAt; tried += 1) {
    if (tried === 0) remark(terminal, `waiting until whoever leads hears of ${id}`);
    await delay(LOOK_MS);
  }
}

async function standing(client: Client, id: NodeId): Promise<ControlNode> {
  const giveUpAt = performance.now() + STANDS_MS_MAX;
  for (;;) {
    const found = (await client.cluster()).control?.find(({ node, state }) => node === id && state !== "away");
    if (found !== undefined) return found;
    if (performance.now() > giveUpAt)
      throw new ClusterError(
        "unavailable",
        `${id} did not come back as a control node within ${STANDS_MS_MAX / 1_000} s; its own log says why`,
      );
    await delay(LOOK_MS);
  }
}

function advice(count: number): string {
  if (count === 2)
    return "Two control nodes: if the first dies, somebody has to act. One more, or a witness, and it switches over by itself.\n";
  return `${count} control nodes: ${Math.ceil(count / 2) - 1} of them may die.\n`;
}
