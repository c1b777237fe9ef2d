/**
 * Who comes into the cluster and who has to leave: invitations, joining, approving, revoking, and the question of a node's
 * daemon where the bus is.
 *
 * J1. An invitation is used by one key. Two that race for it: one wins, in one turn; the same key asking again, because the
 *     answer was lost, is answered again.
 * J2. What is said to be true is committed: a node is let onto the bus after its row is in the store.
 * J3. Whoever proves nothing learns nothing: an invitation or a node that is not there is told like a wrong proof.
 */
import { ClusterError } from "@openclaw-cluster/contract/errors";
import type { NodeId } from "@openclaw-cluster/contract/ids";
import {
  INVITE,
  type Invite,
  type InviteRequest,
  type JoinReply,
  type JoinRequest,
  type Session,
  type SessionRequest,
} from "@openclaw-cluster/contract/join";
import type { Node } from "@openclaw-cluster/contract/node";
import { createInvitation, writeJoinCode } from "../trust/join-code.ts";
import { isProven, isSessionProven, joinKey, makeJoinReply } from "../trust/join-proof.ts";
import { loseLeases } from "./heartbeats.ts";
import { SELF } from "./audit.ts";
import type { Lead } from "./lead.ts";
import type { NodeDesk } from "./node-desk.ts";

const NOT_INVITED = "This join code is unknown, was used, or has run out; make a new one on the coordinator: openclaw-cluster invite";
const NOT_KNOWN = "This cluster knows no node of that id with that key.";

export class JoinDesk {
  private readonly lead: Lead;
  private readonly nodes: NodeDesk;

  constructor(lead: Lead, nodes: NodeDesk) {
    this.lead = lead;
    this.nodes = nodes;
  }

  /** The code's only appearance. Throws overloaded with INVITE.openMax of them open. */
  async invite({ node, approve, ttlMs }: InviteRequest, actor: string = SELF): Promise<Invite> {
    const { tokens, turn, parts, audit } = this.lead;
    const { invite: id, secret } = createInvitation();
    const now = parts.clock.wall();
    const expiresAt = now + ttlMs;
    await turn.run(() => {
      if (tokens.sweepInvites(now) >= INVITE.openMax)
        throw new ClusterError("overloaded", `${INVITE.openMax} join codes are open; they run out by themselves.`);
      const terms = { approve, ...(node !== undefined && { node }) };
      tokens.add({ id, hash: joinKey(secret), scope: "join", name: "join", createdAt: now, expiresAt, invite: terms });
      audit.note(actor, "node.invited", `${id}${node === undefined ? "" : ` for ${node}`}${approve ? ", approved" : ""}`);
    });
    return {
      id,
      code: writeJoinCode({ invite: id, secret, pin: parts.authority.pin, urls: parts.apiUrls() }),
      expiresAt,
      approve,
      ...(node !== undefined && { node }),
    };
  }

  async join(request: JoinRequest): Promise<JoinReply> {
    const { parts, turn, claim } = this.lead;
    const { key, state } = await turn.run(() => this.accept(request));
    if (state === "approved") await this.nodes.authorize();
    parts.log.info({ node: request.node, state, hostname: request.hostname }, "a machine has joined");
    const { name, coordinatorKey } = parts;
    const { certificate: authority } = parts.authority;
    return makeJoinReply({ node: request.node, cluster: claim.cluster, name, state, coordinatorKey, authority }, request, key);
  }

  /** For a node that knocks: it need not have been let in yet. */
  async session(id: NodeId, request: SessionRequest): Promise<Session> {
    const { parts, claim, state } = this.lead;
    const row = state.registry.find(id)?.row;
    if (row === undefined || row.state === "revoked" || !isSessionProven(id, request, row.publicKey))
      throw new ClusterError("unauthorized", NOT_KNOWN);
    if (row.state === "approved") await this.nodes.ensureLetIn(row);
    const { busUrls, coordinatorKey } = parts;
    return { node: id, cluster: claim.cluster, state: row.state, busUrls: [...busUrls], coordinatorKey, epoch: claim.epoch };
  }

  approve(id: NodeId, actor: string = SELF): Promise<Node> {
    return this.change(id, actor, (state) => {
      if (state === "revoked") throw new ClusterError("state_conflict", `${id} was revoked; take it out and let it join anew.`);
      return "approved";
    });
  }

  /** Its leases go to others at once: what comes from it is not heard any more. */
  revoke(id: NodeId, actor: string = SELF): Promise<Node> {
    if (id === this.lead.parts.self) throw new ClusterError("state_conflict", `${id} runs the coordinator.`);
    return this.change(id, actor, () => "revoked");
  }

  private accept(request: JoinRequest): { key: string; state: "pending" | "approved" } {
    const { tokens, state, parts } = this.lead;
    const now = parts.clock.wall();
    const row = tokens.invite(request.invite, now);
    if (row?.invite === undefined || !isProven(request, row.hash)) throw new ClusterError("unauthorized", NOT_INVITED);
    const { approve, node, usedBy } = row.invite;
    if (usedBy !== undefined && usedBy !== request.publicKey) throw new ClusterError("unauthorized", NOT_INVITED);
    if (node !== undefined && node !== request.node)
      throw new ClusterError("forbidden", `This join code is for a node called ${node}; join with --node-id ${node}.`);
    const more = { hostname: request.hostname, ...(!approve && { state: "pending" as const }) };
    if (state.registry.enrol(request.node, request.publicKey, now, more)) this.lead.nodeChanged(state.registry.get(request.node));
    else if (approve) state.registry.update(request.node, { state: "approved" });
    if (usedBy === undefined) this.lead.audit.note(`node ${request.node}`, "node.joined", `${row.id}, ${request.hostname}`);
    tokens.add({ ...row, invite: { ...row.invite, usedBy: request.publicKey } });
    return { key: row.hash, state: state.registry.get(request.node).row.state === "approved" ? "approved" : "pending" };
  }

  private async change(
    id: NodeId,
    actor: string,
    next: (state: "pending" | "approved" | "revoked") => "approved" | "revoked",
  ): Promise<Node> {
    const { turn, state, audit } = this.lead;
    await turn.run(() => {
      const entry = state.registry.get(id);
      const to = next(entry.row.state);
      state.registry.update(id, { state: to });
      if (to === "revoked") loseLeases(state, entry);
      audit.note(actor, to === "revoked" ? "node.revoked" : "node.approved", id);
      this.lead.nodeChanged(entry);
    });
    await this.nodes.authorize();
    return this.nodes.node(id);
  }
}
