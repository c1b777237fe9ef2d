/**
 * Makes a node a control node, and a worker again.
 *
 * K1. What a control node has to know opens everything. So it leaves only after the commit that notes it, sealed for a key that
 *     the node has made for this one time and said under its own seal.
 * K2. One that does not answer can be taken out all the same: that is what people do with a dead machine.
 */
import { ClusterError } from "@openclaw-cluster/contract/errors";
import type { NodeId } from "@openclaw-cluster/contract/ids";
import type { Node } from "@openclaw-cluster/contract/node";
import { CONTROL_URLS_MAX, PromotionAnswer, type PromotionOrder } from "@openclaw-cluster/contract/wire";
import { promotionTo } from "../bus/subjects.ts";
import { HANDOVER, seal } from "../trust/sealed-box.ts";
import { SELF } from "./audit.ts";
import type { ControlRoom } from "./control-room.ts";
import type { Lead } from "./lead.ts";
import type { NodeDesk } from "./node-desk.ts";
import { stateOf } from "./registry.ts";
import type { TokenDesk } from "./token-desk.ts";

/** The node writes some files, and answers. */
const ANSWER_MS = 10_000;
/** Of one that may be dead. */
const FAREWELL_MS = 5_000;
/** Another one leads by then. */
const HANDED_OVER_MS = 2_000;

export class ControlDesk {
  private readonly lead: Lead;
  private readonly nodes: NodeDesk;
  private readonly tokens: TokenDesk;

  constructor(lead: Lead, nodes: NodeDesk, tokens: TokenDesk) {
    this.lead = lead;
    this.nodes = nodes;
    this.tokens = tokens;
  }

  async promote(id: NodeId, { witness = false }: { witness?: boolean | undefined }, actor: string = SELF): Promise<Node> {
    const { state, turn, audit } = this.lead;
    const room = this.room;
    const node = this.nodes.node(id);
    if (room.has(id) || id === this.lead.parts.self) throw new ClusterError("state_conflict", `${id} is a control node already.`);
    if (stateOf(state.registry.get(id)) !== "ready")
      throw new ClusterError("state_conflict", `${id} is not ready; a control node has to be there when it becomes one.`);
    const key = await this.ask(id, { kind: "prepare" }, ANSWER_MS);
    if (!("key" in key)) throw unexpected(id);
    const { token, id: tokenId } = await this.tokens.make({ name: tokenName(id), user: "admin", scope: "admin" }, actor);
    try {
      const text = await room.handover({ witness, token });
      await turn.run(() => audit.note(actor, "node.promoted", witness ? `${id} (witness)` : id));
      const done = await this.ask(id, { kind: "promote", sealed: seal(text, key.key, HANDOVER) }, ANSWER_MS);
      if (!("done" in done)) throw unexpected(id);
    } catch (error) {
      // Whether it has the keys is unknown where its answer was lost; its own token opens nothing then.
      await this.tokens.revoke(tokenId, actor);
      throw error;
    }
    return node;
  }

  async demote(id: NodeId, actor: string = SELF): Promise<Node> {
    const { parts, turn, audit } = this.lead;
    const room = this.room;
    const node = this.nodes.node(id);
    if (id === parts.self) {
      room.handOver();
      throw new ClusterError("unavailable", `${id} leads, and hands over now; ask again.`, { retryAfterMs: HANDED_OVER_MS });
    }
    if (!room.has(id)) throw new ClusterError("not_found", `${id} is no control node.`);
    await room.checkRelease(id);
    await turn.run(() => audit.note(actor, "node.demoted", id));
    // First, because the bus's server that it hears by is its own; K2: it finds itself removed at its next start otherwise, and says so.
    const urls = parts.controlUrls().slice(0, CONTROL_URLS_MAX);
    await this.ask(id, { kind: "demote", urls }, FAREWELL_MS).catch((error: unknown) => {
      parts.log.warn({ node: id, err: error }, "a control node is taken out without having heard of it");
    });
    await room.release(id);
    for (const token of this.tokens.list()) if (token.name === tokenName(id)) await this.tokens.revoke(token.id, actor);
    return node;
  }

  private get room(): ControlRoom {
    const { control } = this.lead.parts;
    if (control !== undefined) return control;
    throw new ClusterError(
      "state_conflict",
      "This coordinator keeps its tasks in a file of its own machine. Move them to where control nodes share them first: openclaw-cluster store migrate --to etcd",
    );
  }

  private async ask(id: NodeId, order: PromotionOrder, timeoutMs: number): Promise<Exclude<PromotionAnswer, { refused: string }>> {
    const read = PromotionAnswer.safeParse(await this.lead.parts.bus.deliver(promotionTo(id), order, timeoutMs));
    if (!read.success) throw unexpected(id);
    if ("refused" in read.data) throw new ClusterError("state_conflict", `${id} refuses: ${read.data.refused}`);
    return read.data;
  }
}

const tokenName = (id: NodeId): string => `control node ${id}`;

function unexpected(id: NodeId): ClusterError {
  return new ClusterError(
    "state_conflict",
    `${id} does not understand this; it may run another version. Bring all machines to one version first.`,
  );
}
