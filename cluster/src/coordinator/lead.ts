/**
 * Takes the lead: claims the store, rebuilds the ledger from it, and commits what its turns bring. What nodes say comes in
 * through inbox.ts, time through watch.ts, what callers ask through the desks; what happens to tasks is in core.
 */
import type { NodeId } from "@openclaw-cluster/contract/ids";
import { isAway } from "@openclaw-cluster/contract/node";
import { lostAfterMs, PAUSE_MS } from "../core/liveness.ts";
import { found } from "../core/retry.ts";
import { Scheduler } from "../core/scheduling/scheduler.ts";
import type { Claim, Loaded } from "../store/store.ts";
import { failpoint } from "../system/failpoint.ts";
import { sparingLog } from "../system/sparing-log.ts";
import { Audit } from "./audit.ts";
import { Backups } from "./backups.ts";
import { FactsPace } from "./facts-pace.ts";
import { Feed } from "./feed.ts";
import { BusGate } from "./bus-gate.ts";
import { Inbox } from "./inbox.ts";
import { Intake } from "./intake.ts";
import type { LeadParts, Leading } from "./lead-parts.ts";
import { sayLastWord } from "./last-word.ts";
import { Ledger } from "./ledger.ts";
import { Outgoing } from "./outgoing.ts";
import { placeQueued } from "./placing.ts";
import { labelsOf, Registry, toNode, toSchedulable, type NodeEntry } from "./registry.ts";
import type { State } from "./state.ts";
import { Tokens } from "./tokens.ts";
import { Turn } from "./turn.ts";
import { Watch } from "./watch.ts";

/** Of one node's losses, in a minute, each attempt has a line in the log. */
const LOSSES_TOLD_MAX = 500;

export class Lead implements Leading {
  readonly parts: LeadParts;
  readonly claim: Claim;
  readonly state: State;
  readonly feed: Feed;
  readonly turn: Turn;
  readonly intake: Intake;
  readonly tokens: Tokens;
  readonly audit: Audit;
  readonly backups: Backups | undefined;
  readonly startedAt: number;
  /** The last commit was refused for want of disk space. */
  storageFull = false;
  readonly gate: BusGate;
  private readonly inbox: Inbox;
  private readonly watch: Watch;

  constructor(parts: LeadParts, claim: Claim, loaded: Loaded) {
    this.parts = parts;
    this.claim = claim;
    this.feed = new Feed(claim.epoch);
    const registry = new Registry(loaded.nodes, parts.coordinatorKey);
    this.state = {
      epoch: claim.epoch,
      clock: parts.clock,
      random: parts.random,
      log: parts.log,
      losses: sparingLog(parts.log, parts.clock, LOSSES_TOLD_MAX),
      trespassed: (node, what) => this.trespassed(node, what),
      registry,
      facts: new FactsPace(parts.clock),
      outgoing: new Outgoing(parts.bus, this.feed, claim.epoch),
      ledger: this.newLedger(registry, loaded),
    };
    this.turn = new Turn({
      clock: parts.clock,
      begin: () => this.watch.mindJumps(),
      place: () => placeQueued(this.state),
      commit: () => this.commit(),
      rollBack: () => this.rollBack(),
      broken: (error) => parts.broken(error),
    });
    this.intake = new Intake(this.state, parts.store, this.turn);
    this.tokens = new Tokens(loaded.tokens);
    this.audit = new Audit(loaded.auditHead, parts.clock);
    this.backups = parts.backups && new Backups({ ...parts.backups, store: parts.store, clock: parts.clock, log: parts.log });
    this.startedAt = parts.clock.wall();
    this.gate = new BusGate(parts, registry);
    this.inbox = new Inbox(this);
    this.watch = new Watch(this);
  }

  /**
   * Begins to listen and to place. A node that holds leases has the whole time of silence to be heard, beyond a pause that it was given,
   * or may have been given by whoever led before (last-word.ts).
   */
  start(): void {
    const { clock, former } = this.parts;
    this.inbox.open();
    for (const entry of this.holders()) {
      const mayGoOn = former !== undefined && entry.row.id !== former.node;
      const pauseMs = mayGoOn ? PAUSE_MS : Math.min(PAUSE_MS, (entry.row.pausedUntil ?? 0) - clock.wall());
      entry.seenAt = clock.monotonic();
      if (pauseMs > 0) entry.pausedUntil = entry.seenAt + pauseMs + lostAfterMs(labelsOf(entry));
    }
    for (const { row } of this.state.registry.all()) this.state.outgoing.control(row.id, { kind: "report", epoch: this.claim.epoch });
    this.watch.arm();
    this.turn.wake();
  }

  /** In good order: the nodes go on with what they run, and find this coordinator's successor or their leases' end. */
  async stop(): Promise<void> {
    failpoint("stop.asked");
    await this.abandon();
    await this.letGoOn();
    failpoint("stop.told");
  }

  async abandon(): Promise<void> {
    this.watch.stop();
    this.inbox.close();
    this.gate.stop();
    await this.backups?.stop();
    await this.turn.end();
  }

  /** After `abandon`. Resolves when it was said often enough, or `signal` aborts. */
  lastWord(sureUntil: number, signal: AbortSignal): Promise<void> {
    const nodes = this.holders().map(({ row }) => row.id);
    return sayLastWord({ ...this.parts, nodes, sureUntil, signal }, (id, ms) => {
      this.state.outgoing.control(id, { kind: "pause", epoch: this.claim.epoch, ms });
    });
  }

  /** What is said is kept first, so that a successor keeps it too. */
  private async letGoOn(): Promise<void> {
    const nodes = this.holders().map(({ row }) => ({ ...row, pausedUntil: this.parts.clock.wall() + PAUSE_MS }));
    if (nodes.length === 0) return;
    try {
      await this.parts.store.commit({ epoch: this.claim.epoch, nodes });
    } catch (error) {
      this.parts.log.warn({ err: error }, "the nodes are not told to go on: that could not be kept for the next start");
      return;
    }
    for (const { id } of nodes) this.state.outgoing.control(id, { kind: "pause", epoch: this.claim.epoch, ms: PAUSE_MS });
  }

  /** Nodes that hold leases. */
  private holders(): NodeEntry[] {
    return [...this.state.registry.all()].filter(({ row }) => this.state.ledger.leasesOf(row.id).size > 0);
  }

  trespassed(node: NodeId, what: string): void {
    this.audit.noteTrespass(node, what, (note) => this.turn.run(note));
  }

  guessed(address: string, what: string): void {
    this.audit.noteGuess(address, what, (note) => this.turn.run(note));
  }

  /** Tells the scheduler and the listeners that a node is not what it was. */
  nodeChanged(entry: NodeEntry): void {
    // Kept, so that one that never comes back is known for a ghost after a restart too.
    if (isAway(entry.liveness) && entry.seenWall !== undefined) this.state.registry.update(entry.row.id, { lastSeenAt: entry.seenWall });
    this.state.ledger.scheduler.setNode(toSchedulable(entry));
    const node = toNode(entry, this.state.ledger.scheduler.used(entry.row.id));
    this.feed.publish([{ node }], this.parts.clock.wall());
  }

  private newLedger(registry: Registry, loaded: Loaded): Ledger {
    const scheduler = new Scheduler({ strategy: this.parts.strategy });
    for (const entry of registry.all()) scheduler.setNode(toSchedulable(entry));
    const now = this.parts.clock.wall();
    return new Ledger(scheduler, { ...loaded, live: loaded.live.map((task) => found(task, now)) });
  }

  private async commit(): Promise<() => void> {
    const { ledger, registry, outgoing } = this.state;
    const written = ledger.take();
    const keys = this.intake.takeKeys();
    const nodesRemoved = registry.takeRemoved();
    const nodes = registry.takeDirty();
    const tokens = this.tokens.takeDirty();
    const tokensRemoved = this.tokens.takeGone();
    const audit = this.audit.take();
    const rest = { keys, nodesRemoved, nodes, tokens, tokensRemoved, audit };
    // Also where nothing is written: who was replaced while it stood still must not judge, answer or offer any more (S2).
    await this.parts.store.commit({ epoch: this.claim.epoch, ...written, ...rest });
    if (written !== undefined || Object.values(rest).some(({ length }) => length > 0)) this.storageFull = false;
    this.intake.keysKept();
    registry.committed();
    return () => {
      outgoing.flush(written, this.parts.clock.wall());
      this.watch.arm();
    };
  }

  /** M2: what memory says beyond the store is not true. */
  private async rollBack(): Promise<void> {
    const { registry, outgoing } = this.state;
    this.storageFull = true;
    outgoing.drop();
    this.intake.drop();
    const loaded = await this.parts.store.load();
    registry.rollBack(loaded.nodes);
    this.tokens.rollBack(loaded.tokens);
    this.audit.rollBack(loaded.auditHead);
    this.state.ledger = this.newLedger(registry, loaded);
    this.parts.log.error("a commit was refused; the ledger was built again from the store");
  }
}
