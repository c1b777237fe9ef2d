/** What whoever leads has for the nodes' models: the router, and their lines for as long as they are nodes of the cluster. */
import type { Duplex } from "node:stream";
import type { NodeId } from "@openclaw-cluster/contract/ids";
import type { Node } from "@openclaw-cluster/contract/node";
import type { Coordinator } from "../coordinator/coordinator.ts";
import { judgeUser, userText } from "../core/users.ts";
import { answerAsker } from "../models/lines/answering.ts";
import { borrowOver } from "../models/lines/lending.ts";
import type { LineEnd } from "../models/lines/line.ts";
import type { LineWay, ModelAsker, ModelDesk } from "../models/models.ts";
import { Router } from "../models/routing/router.ts";
import type { Timer } from "../system/clock.ts";
import type { Ground } from "./ground.ts";

/** One that was shut out keeps its line no longer than this. */
const LOOK_MS = 1_000;

export interface OpenModelDesk extends ModelDesk {
  close(): void;
}

/** undefined: the settings want none. */
export function openModelDesk({ config, clock, log }: Ground, coordinator: Pick<Coordinator, "node">): OpenModelDesk | undefined {
  if (config.models.enabled === "off") return undefined;
  const objection = (node: NodeId, asker: ModelAsker): string | undefined => objectionOf(coordinator, node, asker);
  const router = new Router({ aliases: () => config.models.aliases, objection, clock, log });
  const lines = new Map<LineEnd, NodeId>();
  let timer: Timer | undefined;
  let isClosed = false;
  const look = (): void => {
    for (const [line, node] of lines) if (!isIn(coordinator, node)) line.close();
    timer = clock.after(LOOK_MS, look);
  };
  look();
  const keep = (node: NodeId, line: LineEnd): void => {
    lines.set(line, node);
    void line.ended.then(() => lines.delete(line));
  };
  return {
    router,
    sight: router,
    attach(node: NodeId, way: LineWay, socket: Duplex) {
      // Its proof was judged while another one began to lead.
      if (isClosed) return void socket.destroy();
      if (way === "ask") return keep(node, answerAsker(socket, { router, asker: { token: node, name: `node:${node}` }, node, clock }));
      const lender = borrowOver(socket);
      keep(node, lender);
      router.lends(node, lender);
    },
    close() {
      isClosed = true;
      timer?.cancel();
      for (const line of lines.keys()) line.close();
    },
  };
}

function isIn(coordinator: Pick<Coordinator, "node">, id: NodeId): boolean {
  const state = nodeIn(coordinator, id)?.state;
  return state !== undefined && state !== "revoked" && state !== "pending";
}

function nodeIn(coordinator: Pick<Coordinator, "node">, id: NodeId): Node | undefined {
  try {
    return coordinator.node(id);
  } catch {
    // It was taken out.
    return undefined;
  }
}

/** What is known here of a node's rule; it says so itself when it is asked, but that is one node too many on the way. */
function objectionOf(coordinator: Pick<Coordinator, "node">, id: NodeId, asker: ModelAsker): string | undefined {
  const { draining, facts } = nodeIn(coordinator, id) ?? {};
  if (draining === true) return "is on a node that is draining";
  const users = facts?.policy.users;
  return users === undefined || judgeUser(users, asker).allow ? undefined : `is not for ${userText(asker)} to use`;
}
