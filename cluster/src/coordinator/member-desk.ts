/**
 * What a node asks with its own key: a task that shows whether work reaches it, another key in the place of this one, and to go for good.
 *
 * M1. Only the key that the node has joined with speaks for it, and only for now: a request is signed for this cluster and this minute.
 *     What is said to be true is committed (J2 in join-desk.ts), and whoever proves nothing learns nothing (J3).
 * M2. A node that goes is forgotten in one commit: its row, its leases, its key. What it held goes to others. While its daemon is
 *     heard it stays: a request that comes late must not give away what a later life is at work on.
 * M3. A node changes nothing but itself, and not often.
 */
import { ClusterError } from "@openclaw-cluster/contract/errors";
import { taskId, type NodeId, type TaskId } from "@openclaw-cluster/contract/ids";
import {
  MEMBERSHIP,
  type LeaveRequest,
  type Leaving,
  type Probe,
  type ProbeRequest,
  type Rotated,
  type RotateRequest,
  type Signed,
} from "@openclaw-cluster/contract/membership";
import { TERMINAL, type Task } from "@openclaw-cluster/contract/task";
import type { TaskSpec } from "@openclaw-cluster/contract/task-spec";
import { failpoint } from "../system/failpoint.ts";
import { MinuteLimit } from "../system/minute-limit.ts";
import { isFresh, isLeaveProven, isProbeProven, isRotationProven, type Member } from "../trust/membership-proof.ts";
import { admit } from "./asks.ts";
import type { Proven, SubmitRequest } from "./coordinator.ts";
import { loseLeases } from "./heartbeats.ts";
import { NOT_KNOWN } from "./join-desk.ts";
import type { Lead } from "./lead.ts";
import type { NodeDesk } from "./node-desk.ts";
import { stateOf, type NodeEntry } from "./registry.ts";
import type { TaskDesk } from "./task-desk.ts";

const actorOf = (id: NodeId): string => `node ${id}`;

export class MemberDesk {
  private readonly lead: Lead;
  private readonly nodes: NodeDesk;
  private readonly tasks: TaskDesk;
  private readonly probes: MinuteLimit;
  private readonly changes: MinuteLimit;

  constructor(lead: Lead, nodes: NodeDesk, tasks: TaskDesk) {
    this.lead = lead;
    this.nodes = nodes;
    this.tasks = tasks;
    this.probes = new MinuteLimit(lead.parts.clock, MEMBERSHIP.probesMax);
    this.changes = new MinuteLimit(lead.parts.clock, MEMBERSHIP.changesMax);
  }

  /** Answers when its task is over; one that takes too long is cancelled. */
  async probe(id: NodeId, request: ProbeRequest, signal: AbortSignal, proven?: Proven): Promise<Probe> {
    const entry = this.proven(id, request, isProbeProven);
    proven?.();
    if (entry.row.state === "pending") throw waits(id);
    admit(this.probes, id);
    const { nonce, kind } = request;
    // A request that comes twice is answered with one task.
    const asked: SubmitRequest = {
      owner: `node:${id}`,
      idempotency: { key: nonce, bodyHash: nonce },
      specs: [probeTask(id, kind)],
    };
    const [submitted] = await this.tasks.submit(asked);
    if (submitted === undefined) throw new ClusterError("internal", "a probe has made no task");
    const { task, why } = await this.ended(submitted.id, kind === "agent" ? MEMBERSHIP.turnMsMax : MEMBERSHIP.echoMsMax, signal);
    const { parts, claim } = this.lead;
    return {
      ...{ cluster: claim.cluster, name: parts.name, version: parts.version, task: task.id, state: task.state },
      ...(task.error !== undefined && { error: task.error }),
      ...(why !== undefined && { why }),
      node: this.nodes.node(id),
    };
  }

  async leave(id: NodeId, request: LeaveRequest, proven?: Proven): Promise<Leaving> {
    const entry = this.proven(id, request, isLeaveProven);
    proven?.();
    if (id === this.lead.parts.self)
      throw new ClusterError("state_conflict", `${id} runs the coordinator; without it there is no cluster.`);
    const wasDraining = entry.row.draining;
    switch (request.wish) {
      case "drain":
      case "stay":
        await this.drain(entry, request.wish === "drain");
        break;
      case "stop":
      case "stop_now":
        admit(this.changes, id);
        await this.drain(entry, true);
        await this.nodes.shutdown(id, { now: request.wish === "stop_now" }, actorOf(id));
        break;
      case "go":
        await this.go(id);
        return { node: id, gone: true, wasDraining, held: 0, tasks: [] };
    }
    const held = [...this.lead.state.ledger.leasesOf(id)];
    return { node: id, gone: false, wasDraining, held: held.length, tasks: held.slice(0, MEMBERSHIP.heldShown).map(taskId) };
  }

  /** The key of before opens nothing from the answer on; that of now opens everything from shortly before it. */
  async rotate(id: NodeId, request: RotateRequest, proven?: Proven): Promise<Rotated> {
    this.proven(id, request, isRotationProven);
    proven?.();
    const { publicKey } = request;
    const { turn, state, audit } = this.lead;
    const { row } = state.registry.get(id);
    if (row.state === "pending") throw waits(id);
    if (row.publicKey !== publicKey) {
      admit(this.changes, id);
      await turn.run(() => {
        // Once more, in the turn itself: of two that race, the second finds another key.
        this.proven(id, request, isRotationProven);
        state.registry.rekey(id, publicKey);
        audit.note(actorOf(id), "node.rotated", `${id}, ${publicKey.slice(0, 9)}…`);
        failpoint("rotate.applied");
      });
      failpoint("rotate.committed");
    }
    await this.lead.gate.authorize();
    failpoint("rotate.authorized");
    return { node: id, publicKey };
  }

  /** M1. */
  private proven<R extends Signed>(
    id: NodeId,
    request: R,
    isProven: (member: Member, request: R, publicKey: string) => boolean,
  ): NodeEntry {
    const { state, claim, parts } = this.lead;
    const entry = state.registry.find(id);
    if (
      entry === undefined ||
      entry.row.state === "revoked" ||
      !isProven({ cluster: claim.cluster, node: id }, request, entry.row.publicKey)
    )
      throw new ClusterError("unauthorized", NOT_KNOWN);
    if (!isFresh(request, parts.clock.wall()))
      throw new ClusterError("unauthorized", "This was signed for another time; ask for a session first, which tells the time here.");
    return entry;
  }

  /** Asked again and again while it waits, it is written once. */
  private async drain({ row }: NodeEntry, draining: boolean): Promise<void> {
    if (row.draining === draining) return;
    admit(this.changes, row.id);
    await this.nodes.drain(row.id, draining, actorOf(row.id));
  }

  /** M2. */
  private async go(id: NodeId): Promise<void> {
    await this.nodes.takeOut(id, (entry) => {
      const state = stateOf(entry);
      if (state === "ready" || state === "suspect")
        throw new ClusterError("state_conflict", `${id} is ${state}: its daemon was heard a moment ago, and must have ended first.`);
      loseLeases(this.lead.state, entry);
      this.lead.audit.note(actorOf(id), "node.left", id);
      failpoint("leave.applied");
    });
    this.lead.parts.log.info({ node: id }, "a node has left for good");
  }

  private async ended(id: TaskId, ms: number, signal: AbortSignal): Promise<{ task: Task; why?: string }> {
    const task = await this.tasks.waitFor(id, ms, signal);
    if (TERMINAL.has(task.state)) return { task };
    const { sentence } = await this.tasks.why(id);
    // What a probe cannot wait for must not run later, when nobody wants to know any more. It may end by itself just now.
    await this.tasks.cancel(id).catch(() => undefined);
    return { task, why: sentence };
  }
}

function waits(id: NodeId): ClusterError {
  return new ClusterError("state_conflict", `${id} has joined and waits to be let in: openclaw-cluster nodes approve ${id}`);
}

function probeTask(id: NodeId, kind: ProbeRequest["kind"]): TaskSpec {
  const common = { name: "probe", require: { nodes: [id] }, priority: 7, retry: { max: 0 }, onLost: "fail" as const };
  if (kind === "echo") return { ...common, kind, input: { value: "probe" }, timeouts: { runMs: MEMBERSHIP.echoMsMax } };
  return { ...common, kind, input: { message: "Answer with the one word: ready" }, timeouts: { runMs: MEMBERSHIP.turnMsMax } };
}
