/** What callers may ask of the coordinator about nodes and the cluster as a whole. */
import type { Backup, ClusterView, Health } from "@openclaw-cluster/contract/cluster";
import { ClusterError } from "@openclaw-cluster/contract/errors";
import type { NodeId } from "@openclaw-cluster/contract/ids";
import { LIMITS } from "@openclaw-cluster/contract/limits";
import { diskFullText, isAway, saidGoodbye, type Node, type NodeState } from "@openclaw-cluster/contract/node";
import type { BackupTaken, Enrolled } from "@openclaw-cluster/contract/operations";
import type { Migration, MigrationRequest } from "@openclaw-cluster/contract/store-migration";
import { failpoint } from "../system/failpoint.ts";
import { SELF } from "./audit.ts";
import { withControl } from "./control-view.ts";
import type { Lead } from "./lead.ts";
import { stateOf, toNode, twinText, type NodeEntry } from "./registry.ts";

/** Twice what a node wants kept free unless it says otherwise: a person hears of it before it takes no new work. */
const DISK_LOW_MIB = 512;
/** A node that was not heard for so long is not shown unless it is asked for. `nodes remove` takes it out for good. */
const GHOST_MS = 7 * 86_400_000;

export class NodeDesk {
  private readonly lead: Lead;

  constructor(lead: Lead) {
    this.lead = lead;
  }

  nodes({ all = false }: { all?: boolean } = {}): readonly Node[] {
    const since = this.lead.parts.clock.wall() - GHOST_MS;
    const isGhost = ({ state, lastSeenAt, registeredAt, slotsUsed }: Node): boolean =>
      isAway(state) && slotsUsed === 0 && (lastSeenAt ?? registeredAt) < since;
    return [...this.registry.all()]
      .map((entry) => this.view(entry))
      .filter((node) => all || !isGhost(node))
      .sort((a, b) => (a.id < b.id ? -1 : 1));
  }

  node(id: NodeId): Node {
    return this.view(this.registry.get(id));
  }

  nodeHealth(id: NodeId): Health {
    return this.verdict(this.problemsOf(this.registry.get(id)));
  }

  async enrol({ id, publicKey }: { id: NodeId; publicKey: string }, actor: string = SELF): Promise<Enrolled> {
    const { parts, turn, claim } = this.lead;
    await turn.run(() => {
      if (this.registry.enrol(id, publicKey, parts.clock.wall())) {
        this.lead.nodeChanged(this.registry.get(id));
        this.lead.audit.note(actor, "node.enrolled", id);
      }
      failpoint("enrol.applied");
    });
    failpoint("enrol.committed");
    await this.lead.gate.authorize();
    failpoint("enrol.authorized");
    return { node: id, cluster: claim.cluster, busUrls: [...parts.busUrls()], coordinatorKey: parts.coordinatorKey, epoch: claim.epoch };
  }

  patch(id: NodeId, patch: { labels?: Readonly<Record<string, string | null>>; slots?: number }, actor: string = SELF): Promise<Node> {
    return this.change(id, (entry) => {
      const labels = { ...entry.row.labels };
      for (const [name, value] of Object.entries(patch.labels ?? {})) {
        if (value === null) delete labels[name];
        else labels[name] = value;
      }
      const count = Object.keys(labels).length;
      if (count > LIMITS.labelsMax)
        throw new ClusterError(
          "bad_request",
          `labels: ${id} would have ${count} of them beside its own; at most ${LIMITS.labelsMax} are kept.`,
        );
      this.lead.audit.note(actor, "node.changed", id);
      this.registry.update(id, { labels, ...(patch.slots !== undefined && { slots: patch.slots }) });
    });
  }

  drain(id: NodeId, draining: boolean, actor: string = SELF): Promise<Node> {
    return this.change(id, () => {
      this.lead.audit.note(actor, draining ? "node.drained" : "node.resumed", id);
      this.registry.update(id, { draining });
    });
  }

  /** `now`: without time for what runs there. */
  async shutdown(id: NodeId, { now = false }: { now?: boolean } = {}, actor: string = SELF): Promise<Node> {
    const node = this.node(id);
    if (id === this.lead.parts.self)
      throw new ClusterError("state_conflict", `${id} runs the coordinator; stop it there with Ctrl-C or its service.`);
    await this.lead.turn.run(() => this.lead.audit.note(actor, "node.shut_down", id));
    this.lead.state.outgoing.control(id, { kind: "shutdown", epoch: this.lead.claim.epoch, ...(now && { now }) });
    return node;
  }

  /** For good. Its tasks' history keeps its name; its key may not connect any more. */
  async remove(id: NodeId, actor: string = SELF): Promise<Node> {
    return this.takeOut(id, (entry) => {
      const refusal = this.mayNotGo(entry);
      if (refusal !== undefined) throw new ClusterError("state_conflict", refusal);
      this.lead.audit.note(actor, "node.removed", id);
    });
  }

  /** `decide` may refuse, and does in the same turn what else belongs to it. Gives the node as it was last. */
  async takeOut(id: NodeId, decide: (entry: NodeEntry) => void): Promise<Node> {
    const last = await this.lead.turn.run(() => {
      const entry = this.registry.get(id);
      decide(entry);
      const node = this.view(entry);
      this.registry.remove(id);
      this.lead.state.ledger.scheduler.removeNode(id);
      return node;
    });
    failpoint("leave.committed");
    this.lead.feed.publish([{ removed: id }], this.lead.parts.clock.wall());
    await this.lead.gate.authorize();
    return last;
  }

  async cluster(): Promise<ClusterView> {
    const { parts, claim, state } = this.lead;
    const nodes: Partial<Record<NodeState, number>> = {};
    let slots = 0;
    let slotsUsed = 0;
    for (const node of this.nodes()) {
      nodes[node.state] = (nodes[node.state] ?? 0) + 1;
      if (node.state === "ready") slots += node.slots;
      slotsUsed += node.slotsUsed;
    }
    const [bytes, control] = await Promise.all([parts.store.bytes(), parts.controlView?.view()]);
    const backup = this.lead.backups?.newest;
    const cluster: ClusterView = {
      id: claim.cluster,
      name: parts.name,
      version: parts.version,
      epoch: claim.epoch,
      startedAt: this.lead.startedAt,
      coordinator: parts.self,
      nodes,
      tasks: state.ledger.counts,
      slots,
      slotsUsed,
      store: { kind: parts.store.kind, ...(bytes !== undefined && { bytes }), ...(backup !== undefined && { backup }) },
      bus: { connected: parts.bus.connected, ...(parts.busServer !== undefined && { version: parts.busServer.version }) },
    };
    return control === undefined ? cluster : withControl(cluster, control);
  }

  health(): Health {
    const problems: string[] = [];
    if (!this.lead.parts.bus.connected) problems.push("The coordinator has no connection to nats-server; it comes back by itself.");
    if (this.lead.storageFull) problems.push("The store's disk is full: submits are refused until there is space.");
    if (this.registry.hasMassLoss(this.lead.parts.clock.monotonic()))
      problems.push("Most nodes fell silent at once. It may be this machine's own network, so what they hold is kept for a minute longer.");
    const late = this.lead.backups?.problem();
    if (late !== undefined) problems.push(late);
    problems.push(...(this.lead.parts.controlView?.problems() ?? []));
    for (const [id, owner] of this.registry.twins()) problems.push(`${twinText(id, owner)}.`);
    const entries = [...this.registry.all()];
    if (!entries.some((entry) => stateOf(entry) === "ready" && !entry.row.draining && entry.load?.diskFull === undefined))
      problems.push("No node is ready to take work.");
    for (const entry of entries) {
      if (entry.row.state === "approved" && !saidGoodbye(entry.liveness)) problems.push(...this.problemsOf(entry));
    }
    return this.verdict(problems);
  }

  async backup(actor: string = SELF): Promise<BackupTaken> {
    const backup = await this.keeper.take();
    await this.lead.turn.run(() => this.lead.audit.note(actor, "store.backed_up", backup.name));
    // As of the copy's end, give or take the turn that ran meanwhile.
    const tasks = Object.values(this.lead.state.ledger.counts).reduce((sum, count) => sum + count, 0);
    return { ...backup, tasks };
  }

  backups(): Promise<readonly Backup[]> {
    return this.keeper.list();
  }

  async migrateStore(request: MigrationRequest, actor: string = SELF): Promise<Migration> {
    const { storeMover } = this.lead.parts;
    if (storeMover === undefined) throw new ClusterError("state_conflict", "This coordinator's store cannot be moved.");
    const migration = await storeMover.migrate(request);
    await this.lead.turn.run(() => this.lead.audit.note(actor, "store.migration_begun", `to ${request.to}`));
    return migration;
  }

  private get keeper(): NonNullable<Lead["backups"]> {
    if (this.lead.backups === undefined)
      throw new ClusterError("bad_request", "This coordinator keeps its store in memory: there is nothing to copy.");
    return this.lead.backups;
  }

  private get registry(): Lead["state"]["registry"] {
    return this.lead.state.registry;
  }

  private view(entry: NodeEntry): Node {
    return toNode(entry, this.lead.state.ledger.scheduler.used(entry.row.id));
  }

  private change(id: NodeId, apply: (entry: NodeEntry) => void): Promise<Node> {
    return this.lead.turn.run(() => {
      const entry = this.registry.get(id);
      apply(entry);
      this.lead.nodeChanged(entry);
      return this.view(entry);
    });
  }

  /** Why it cannot be removed, with what to do; undefined where it can. */
  private mayNotGo(entry: NodeEntry): string | undefined {
    const { id } = entry.row;
    if (id === this.lead.parts.self) return `${id} runs the coordinator.`;
    const state = stateOf(entry);
    if (state === "ready") return `${id} is ready; end its daemon first: openclaw-cluster nodes shutdown ${id}`;
    if (state === "suspect") return `${id} fell silent only a moment ago; try again when it is lost or back.`;
    const leases = this.lead.state.ledger.leasesOf(id).size;
    if (leases > 0)
      return `${id} still holds ${leases === 1 ? "a task" : `${leases} tasks`}; try again when they have gone to other nodes.`;
    return undefined;
  }

  private problemsOf(entry: NodeEntry): string[] {
    const { id } = entry.row;
    const problems: string[] = [];
    const state = stateOf(entry);
    if (state !== "ready") problems.push(`${id} is ${state}.`);
    const full = entry.load && diskFullText(entry.load);
    if (full !== undefined) problems.push(`${id} takes no new work, ${full}; it goes on by itself when there is room.`);
    else if (entry.load !== undefined && entry.load.diskFreeMiB < DISK_LOW_MIB)
      problems.push(`${id} has only ${entry.load.diskFreeMiB} MiB of disk left.`);
    if (entry.facts?.openclaw?.reachable === false) problems.push(`The OpenClaw Gateway of ${id} is down.`);
    return problems;
  }

  private verdict(problems: readonly string[]): Health {
    return { status: problems.length === 0 ? "ok" : "degraded", problems: [...problems], checkedAt: this.lead.parts.clock.wall() };
  }
}
