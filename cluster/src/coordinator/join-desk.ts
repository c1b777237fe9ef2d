/**
 * Who comes into the cluster and who has to leave: invitations, joining, approving, revoking, and the question of a node's
 * daemon where the bus is.
 *
 * J1. An invitation is used once, by one key. Two that race for it: one wins, in one turn; the same key asking again, because
 *     the answer was lost, is answered again. Once its node is gone it has been used for good.
 * J2. What is said to be true is committed: a node is let onto the bus after its row is in the store.
 * J3. Whoever proves nothing learns nothing: an invitation or a node that is not there is told like a wrong proof, and takes as long.
 * J4. Where only certain Tailscale logins may join, a machine of which Tailscale says nothing may not. Its word is a further
 *     condition; without a code it is worth nothing.
 * J5. A node that hears that it is not known goes for good: that answer rests on what is committed, never on a removal that may yet fail,
 *     and is signed by the coordinator's key, as every answer and refusal of `session` is (trust/session-proof.ts).
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
import { LIMITS } from "@openclaw-cluster/contract/limits";
import { MEMBERSHIP } from "@openclaw-cluster/contract/membership";
import type { JoinedFrom, Node } from "@openclaw-cluster/contract/node";
import type { InviteTerms, NodeRow, TokenRow } from "../store/store.ts";
import { MinuteLimit } from "../system/minute-limit.ts";
import { identityText, isNamed } from "../system/tailscale-whois.ts";
import { fingerprintOf } from "../trust/fingerprint.ts";
import { createInvitation, JOIN_CODE_URLS_MAX, writeJoinCode } from "../trust/join-code.ts";
import { isProven, joinKey, makeJoinReply } from "../trust/join-proof.ts";
import { isSessionProven, proveRefusal, proveSession } from "../trust/session-proof.ts";
import { admit } from "./asks.ts";
import { loseLeases } from "./heartbeats.ts";
import { SELF } from "./audit.ts";
import type { Peer, Proven } from "./coordinator.ts";
import type { Lead } from "./lead.ts";
import type { NodeDesk } from "./node-desk.ts";

const NOT_INVITED = "This join code is unknown, was used, or has run out; make a new one on the coordinator: openclaw-cluster invite";
/** A call from this very process. */
const NOWHERE: Peer = { address: "", port: 0 };
export const NOT_KNOWN = "This cluster knows no node of that id with that key.";

export class JoinDesk {
  private readonly lead: Lead;
  private readonly nodes: NodeDesk;
  private readonly sessions: MinuteLimit;

  constructor(lead: Lead, nodes: NodeDesk) {
    this.lead = lead;
    this.nodes = nodes;
    this.sessions = new MinuteLimit(lead.parts.clock, MEMBERSHIP.sessionsMax);
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
      code: writeJoinCode({ invite: id, secret, pin: parts.authority.pin, urls: parts.controlUrls().slice(0, JOIN_CODE_URLS_MAX) }),
      expiresAt,
      approve,
      ...(node !== undefined && { node }),
    };
  }

  async join(request: JoinRequest, peer?: Peer, proven?: Proven): Promise<JoinReply> {
    const { parts, turn, claim } = this.lead;
    // Nobody is looked up for who proves nothing.
    this.invitation(request);
    proven?.();
    const from = await this.identify(request, peer);
    const { key, state } = await turn.run(() => this.accept(request, from));
    if (state === "approved") await this.lead.gate.authorize();
    const fingerprint = fingerprintOf(request.publicKey);
    parts.log.info({ node: request.node, state, fingerprint, hostname: request.hostname, address: peer?.address }, "a machine has joined");
    const { name, coordinatorKey } = parts;
    const { certificate: authority } = parts.authority;
    return makeJoinReply({ node: request.node, cluster: claim.cluster, name, state, coordinatorKey, authority }, request, key);
  }

  /** For a node that knocks: it need not have been let in yet. */
  async session(id: NodeId, request: SessionRequest, proven?: Proven): Promise<Session> {
    const { parts, claim } = this.lead;
    const { coordinatorKey, clock, sign } = parts;
    try {
      const state = await this.standingOf(id, request, proven);
      const { cluster, epoch } = claim;
      const urls = parts.controlUrls().slice(0, LIMITS.coordinatorUrlsMax);
      return proveSession(
        {
          ...{ node: id, cluster, state, busUrls: [...parts.busUrls()], coordinatorKey, epoch, now: clock.wall() },
          ...(urls.length > 0 && { coordinatorUrls: urls }),
        },
        request,
        sign,
      );
    } catch (error) {
      if (!(error instanceof ClusterError)) throw error;
      const { code, detail, retryAfterMs } = error;
      const proof = proveRefusal(id, code, request, sign);
      throw new ClusterError(code, detail, { cause: error, proof, ...(retryAfterMs !== undefined && { retryAfterMs }) });
    }
  }

  private async standingOf(id: NodeId, request: SessionRequest, proven?: Proven): Promise<"pending" | "approved"> {
    const { parts, state, turn, gate } = this.lead;
    // J3: nobody but the coordinator signs with its key, and it does not ask itself.
    const isProvenBy = (node: NodeRow | undefined): boolean =>
      isSessionProven(id, parts.coordinatorKey, request, node?.publicKey ?? parts.coordinatorKey);
    // Judged here for the limit alone, before it costs a turn; of one that is not known yet the turn will tell.
    const seen = state.registry.find(id)?.row;
    if (isProvenBy(seen) && seen !== undefined) admit(this.sessions, id);
    // J5: in a turn, and judged after it.
    const row = await turn.run(() => state.registry.find(id)?.row);
    if (!isProvenBy(row) || row === undefined) throw new ClusterError("unauthorized", NOT_KNOWN);
    proven?.();
    if (row.state === "revoked") {
      this.lead.trespassed(id, "asked to come in, after it was shut out");
      throw new ClusterError("unauthorized", NOT_KNOWN);
    }
    state.registry.checkKey(id, row.publicKey);
    if (row.state === "approved") await gate.ensureLetIn(row);
    return row.state;
  }

  approve(id: NodeId, actor: string = SELF): Promise<Node> {
    return this.change(id, actor, ({ state, publicKey }) => {
      if (state === "revoked") throw new ClusterError("state_conflict", `${id} was revoked; take it out and let it join anew.`);
      this.lead.state.registry.checkKey(id, publicKey);
      return "approved";
    });
  }

  /** Its leases go to others at once: what comes from it is not heard any more. */
  revoke(id: NodeId, actor: string = SELF): Promise<Node> {
    if (id === this.lead.parts.self) throw new ClusterError("state_conflict", `${id} runs the coordinator.`);
    return this.change(id, actor, () => "revoked");
  }

  /** The open invitation that the request proves to know, unless another key has used it. */
  private invitation(request: JoinRequest): TokenRow & { readonly invite: InviteTerms } {
    const row = this.lead.tokens.invite(request.invite, this.lead.parts.clock.wall());
    if (row?.invite === undefined || !isProven(request, row.hash)) throw new ClusterError("unauthorized", NOT_INVITED);
    const { usedBy } = row.invite;
    if (usedBy !== undefined && !(usedBy === request.publicKey && this.isMember(request)))
      throw new ClusterError("unauthorized", NOT_INVITED);
    return { ...row, invite: row.invite };
  }

  private isMember({ node, publicKey }: JoinRequest): boolean {
    return this.lead.state.registry.find(node)?.row.publicKey === publicKey;
  }

  /** J4: where the machine comes from, and what Tailscale says of it. Throws forbidden where that is asked for and is not known, or is another. */
  private async identify({ invite, node }: JoinRequest, peer: Peer = NOWHERE): Promise<JoinedFrom | undefined> {
    const { joiners } = this.lead.parts;
    const from = peer === NOWHERE ? undefined : { address: peer.address, tags: [] };
    if (joiners === undefined) return from;
    const found = await joiners.whois(peer);
    const who = found.kind === "known" ? found.who : undefined;
    if (joiners.logins.length === 0 || (who !== undefined && isNamed(who, joiners.logins)))
      return who === undefined ? from : { address: peer.address, ...who, tags: [...who.tags] };
    const whose = who === undefined ? `nobody knows whose it is: ${(found as { reason: string }).reason}` : `it is ${identityText(who)}`;
    this.lead.audit.noteRefusedJoin(peer.address, `${invite} for ${node}: ${whose}`, (note) => this.lead.turn.run(note));
    throw new ClusterError("forbidden", `Only machines of certain Tailscale logins may join this cluster, and of this one ${whose}.`);
  }

  private accept(request: JoinRequest, from: JoinedFrom | undefined): { key: string; state: "pending" | "approved" } {
    const { tokens, state, parts } = this.lead;
    const now = parts.clock.wall();
    const row = this.invitation(request);
    const { approve, node, usedBy } = row.invite;
    if (node !== undefined && node !== request.node)
      throw new ClusterError("forbidden", `This join code is for a node called ${node}; join with --node-id ${node}.`);
    const { publicKey, hostname, os } = request;
    const more = { hostname, os, ...(from && { joinedFrom: from }), ...(!approve && { state: "pending" as const }) };
    if (state.registry.enrol(request.node, publicKey, now, more)) this.lead.nodeChanged(state.registry.get(request.node));
    else if (approve) state.registry.update(request.node, { state: "approved" });
    // What it says of itself comes last: it could be long.
    const said = [row.id, keyText(publicKey), ...(from === undefined ? [] : [fromText(from)]), hostname].join(", ");
    if (usedBy === undefined) this.lead.audit.note(`node ${request.node}`, "node.joined", said);
    tokens.add({ ...row, invite: { ...row.invite, usedBy: publicKey } });
    return { key: row.hash, state: state.registry.get(request.node).row.state === "approved" ? "approved" : "pending" };
  }

  private async change(id: NodeId, actor: string, next: (row: NodeRow) => "approved" | "revoked"): Promise<Node> {
    const { turn, state, audit } = this.lead;
    await turn.run(() => {
      const entry = state.registry.get(id);
      const to = next(entry.row);
      state.registry.update(id, { state: to });
      if (to === "revoked") loseLeases(state, entry);
      if (to === "revoked") audit.note(actor, "node.revoked", id);
      else audit.note(actor, "node.approved", `${id}, ${keyText(entry.row.publicKey)}`);
      this.lead.nodeChanged(entry);
    });
    await this.lead.gate.authorize();
    return this.nodes.node(id);
  }
}

const keyText = (publicKey: string): string => `key ${fingerprintOf(publicKey)}`;

function fromText(from: JoinedFrom): string {
  const isKnown = from.login !== undefined || from.machine !== undefined || from.tags.length > 0;
  return isKnown ? `${identityText(from)} at ${from.address}` : from.address;
}
