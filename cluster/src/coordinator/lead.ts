/**
 * Takes the lead: claims the store, rebuilds the ledger from it, listens on the bus, and keeps time. What callers may
 * ask is in desk.ts; what happens to tasks is in core.
 */
import { Heartbeat, type HeartbeatReply, type ReportReply } from "@openclaw-cluster/contract/wire";
import { taskId, type NodeId } from "@openclaw-cluster/contract/ids";
import type { Strategy } from "@openclaw-cluster/contract/task-spec";
import type { Bus, BusServer, Message, Subscription } from "../bus/bus.ts";
import { ANY_HEARTBEAT, ANY_REPORT, senderOf } from "../bus/subjects.ts";
import { ring } from "../core/alarms.ts";
import { Scheduler } from "../core/scheduling/scheduler.ts";
import type { Claim, Loaded, Store } from "../store/store.ts";
import type { Clock, Timer } from "../system/clock.ts";
import { failpoint, failpointOnceSent } from "../system/failpoint.ts";
import type { Log } from "../system/log.ts";
import { Backups, type BackupParts } from "./backups.ts";
import { Feed } from "./feed.ts";
import { applyHeartbeat, endsWithItsWorker, loseLeases } from "./heartbeats.ts";
import { Intake } from "./intake.ts";
import { Ledger } from "./ledger.ts";
import { Outgoing } from "./outgoing.ts";
import { placeQueued } from "./placing.ts";
import { Registry, stateOf, toNode, toSchedulable, type NodeEntry } from "./registry.ts";
import { readReport } from "./report-body.ts";
import { applyReport } from "./reports.ts";
import type { State } from "./state.ts";
import { Tokens } from "./tokens.ts";
import { Turn } from "./turn.ts";

export interface LeadParts {
  readonly name: string;
  readonly version: string;
  /** The node whose daemon this coordinator runs in. */
  readonly self: NodeId;
  readonly store: Store;
  readonly bus: Bus;
  /** The server behind the bus, where this daemon runs it. */
  readonly busServer?: Pick<BusServer, "authorize" | "version" | "onDisconnect">;
  /** Where workers find the bus. */
  readonly busUrls: readonly string[];
  readonly strategy: Strategy;
  /** Finished tasks are kept this long. */
  readonly retentionMs: number;
  readonly clock: Clock;
  readonly random: () => number;
  readonly log: Log;
  /** Where copies of the store go; without it none are made. */
  readonly backups?: BackupParts;
  /** The process must end: the store is broken or another coordinator leads. */
  broken(error: unknown): void;
}

/** A node whose connection has closed, and that is not heard again within this time, has ended. Coming back takes some 100 ms. */
const GONE_MS = 700;
/** A coordinator that stops in good order leaves its nodes this long: enough for an update and a reboot. */
const PAUSE_MS = 300_000;
/** Silence and alarms are looked at this often, and sooner when an alarm says so. */
const TICK_MS = 1_000;
/** Looks that are further apart than this are no sign of load: the machine slept, or the process was stopped. */
const STILL_MS = 3_000;
/** Alarms of one turn. */
const ALARMS_MAX = 4_096;
/** Counters of nodes are written back this often; they are statistics, not truth. */
const COUNTERS_MS = 10_000;
const PRUNE_MS = 60_000;
const PRUNE_TASKS_MAX = 2_000;

export class Lead {
  readonly parts: LeadParts;
  readonly claim: Claim;
  readonly state: State;
  readonly feed: Feed;
  readonly turn: Turn;
  readonly intake: Intake;
  readonly tokens: Tokens;
  readonly backups: Backups | undefined;
  readonly startedAt: number;
  /** The last commit was refused for want of disk space. */
  storageFull = false;
  private readonly subscriptions: Subscription[] = [];
  private timer: Timer | undefined;
  /** When to look again and when it was last done, by the monotonic clock. */
  private lookAt: number;
  private lookedAt: number;
  private countersAt: number;
  private prunedAt: number;

  constructor(parts: LeadParts, claim: Claim, loaded: Loaded) {
    this.parts = parts;
    this.claim = claim;
    this.feed = new Feed(claim.epoch);
    const registry = new Registry(loaded.nodes);
    this.state = {
      epoch: claim.epoch,
      clock: parts.clock,
      random: parts.random,
      log: parts.log,
      registry,
      outgoing: new Outgoing(parts.bus, this.feed, claim.epoch),
      ledger: this.newLedger(registry, loaded),
    };
    this.turn = new Turn({
      clock: parts.clock,
      place: () => placeQueued(this.state),
      commit: () => this.commit(),
      rollBack: () => this.rollBack(),
      broken: (error) => parts.broken(error),
    });
    this.intake = new Intake(this.state, parts.store, this.turn);
    this.tokens = new Tokens(loaded.tokens);
    this.backups = parts.backups && new Backups({ ...parts.backups, store: parts.store, clock: parts.clock, log: parts.log });
    this.startedAt = parts.clock.wall();
    this.lookedAt = this.countersAt = this.prunedAt = parts.clock.monotonic();
    this.lookAt = this.lookedAt + TICK_MS;
  }

  /** Begins to listen and to place. A node that holds leases has LOST_MS to be heard. */
  start(): void {
    const { bus, clock } = this.parts;
    this.subscriptions.push(
      bus.subscribe(ANY_REPORT, (message) => this.onReport(message)),
      bus.subscribe(ANY_HEARTBEAT, (message) => this.onHeartbeat(message)),
    );
    const closed = this.parts.busServer?.onDisconnect?.((node) => this.onClosed(node));
    if (closed !== undefined) this.subscriptions.push(closed);
    for (const entry of this.state.registry.all()) {
      if (this.state.ledger.leasesOf(entry.row.id).size > 0) entry.seenAt = clock.monotonic();
      this.state.outgoing.control(entry.row.id, { kind: "report", epoch: this.claim.epoch });
    }
    this.arm();
    this.turn.wake();
  }

  /** In good order: the nodes go on with what they run, and find this coordinator's successor or their leases' end. */
  async stop(): Promise<void> {
    failpoint("stop.asked");
    this.timer?.cancel();
    for (const subscription of this.subscriptions) subscription.stop();
    await this.backups?.stop();
    await this.turn.end();
    for (const { row } of this.state.registry.all()) {
      if (this.state.ledger.leasesOf(row.id).size > 0)
        this.state.outgoing.control(row.id, { kind: "pause", epoch: this.claim.epoch, ms: PAUSE_MS });
    }
    failpoint("stop.told");
  }

  /** Tells the scheduler and the listeners that a node is not what it was. */
  nodeChanged(entry: NodeEntry): void {
    this.state.ledger.scheduler.setNode(toSchedulable(entry));
    const node = toNode(entry, this.state.ledger.scheduler.used(entry.row.id));
    this.feed.publish([{ node }], this.parts.clock.wall());
  }

  private newLedger(registry: Registry, loaded: Loaded): Ledger {
    const scheduler = new Scheduler({ strategy: this.parts.strategy });
    for (const entry of registry.all()) scheduler.setNode(toSchedulable(entry));
    return new Ledger(scheduler, loaded);
  }

  private async commit(): Promise<void> {
    const { ledger, registry, outgoing } = this.state;
    const written = ledger.take();
    const keys = this.intake.takeKeys();
    const nodes = registry.takeDirty();
    const tokens = this.tokens.takeDirty();
    if (written !== undefined || keys.length > 0 || nodes.length > 0 || tokens.length > 0) {
      await this.parts.store.commit({ epoch: this.claim.epoch, ...written, keys, nodes, tokens });
      this.storageFull = false;
    }
    outgoing.flush(written, this.parts.clock.wall());
    this.arm();
  }

  /** M2: what memory says beyond the store is not true. The nodes' rows are written again with the next commit. */
  private async rollBack(): Promise<void> {
    const { registry, outgoing } = this.state;
    this.storageFull = true;
    outgoing.drop();
    this.intake.drop();
    for (const entry of registry.all()) registry.update(entry.row.id, {});
    this.state.ledger = this.newLedger(registry, await this.parts.store.load());
    this.parts.log.error("a commit was refused; the ledger was built again from the store");
  }

  private onReport({ subject, body, respond }: Message): void {
    const report = readReport(body);
    const node = senderOf(subject);
    if (report === undefined || this.state.registry.find(node)?.row.state !== "approved") {
      this.parts.log.warn({ node, readable: report !== undefined }, "a report was dropped");
      return;
    }
    let reply: ReportReply;
    this.turn.add({
      apply: () => {
        reply = { verdicts: applyReport(this.state, node, report) };
        if (report.finished.length > 0) failpoint("report.applied");
      },
      committed: () => {
        if (report.finished.length > 0) failpoint("report.committed");
        respond?.(reply);
        if (report.finished.length > 0) failpointOnceSent("report.answered");
      },
      // No answer: the worker keeps what it has and reports again.
      failed: (error) => this.parts.log.warn({ node, code: error.code }, "a report was not accepted"),
    });
  }

  private onHeartbeat({ subject, body, respond }: Message): void {
    const parsed = Heartbeat.safeParse(body);
    const node = senderOf(subject);
    const entry = this.state.registry.find(node);
    if (!parsed.success || parsed.data.node !== node || entry?.row.state !== "approved") {
      this.parts.log.warn({ node, problem: parsed.error?.message }, "a heartbeat was dropped");
      return;
    }
    this.turn.add({
      apply: () => {
        const before = stateOf(entry);
        applyHeartbeat(this.state, entry, parsed.data);
        if (stateOf(entry) !== before) this.nodeChanged(entry);
      },
      committed: () => respond?.({ epoch: this.claim.epoch } satisfies HeartbeatReply),
      failed: (error) => this.parts.log.warn({ node, code: error.code }, "a heartbeat was not accepted"),
    });
  }

  /** Long before its silence would tell. */
  private onClosed(node: NodeId): void {
    const { clock } = this.parts;
    const closedAt = clock.monotonic();
    clock.after(GONE_MS, () => {
      this.turn.add({
        apply: () => {
          const entry = this.state.registry.find(node);
          if (entry !== undefined && this.state.registry.gone(entry, closedAt)) {
            loseLeases(this.state, entry, endsWithItsWorker);
            failpoint("loss.applied");
            this.nodeChanged(entry);
          }
        },
        committed: () => undefined,
        failed: (error) => this.parts.log.warn({ node, code: error.code }, "the end of a node was not kept; its silence will tell"),
      });
    });
  }

  /** After each commit: alarms may have changed. The regular look keeps its time, however many commits there are. */
  private arm(): void {
    const { clock } = this.parts;
    const next = this.state.ledger.alarms.next();
    this.wakeIn(Math.min(this.lookAt - clock.monotonic(), next === undefined ? TICK_MS : next - clock.wall()));
  }

  private wakeIn(ms: number): void {
    this.timer?.cancel();
    this.timer = this.parts.clock.after(Math.max(0, ms), () => this.tick());
  }

  private tick(): void {
    this.lookAt = this.parts.clock.monotonic() + TICK_MS;
    this.turn.add({
      apply: () => this.keepTime(),
      committed: () => undefined,
      failed: () => this.wakeIn(TICK_MS),
    });
    this.prune().catch((error: unknown) => this.parts.log.warn({ error }, "pruning failed; it is tried again"));
  }

  private keepTime(): void {
    const { ledger, registry, clock } = this.state;
    const now = clock.wall();
    const due = ledger.alarms.due(now, ALARMS_MAX);
    for (const key of due) {
      const task = ledger.get(key);
      const settled = task && ring(task, now);
      if (task === undefined || settled === undefined) continue;
      if (task.lease !== undefined) {
        this.state.outgoing.cancel(task.lease.node, { task: taskId(key), attempt: task.attempt, epoch: task.lease.epoch });
      }
      ledger.write(task, settled);
    }
    if (due.length > 0) failpoint("alarm.applied");
    const silence = clock.monotonic();
    const stoodStillMs = silence - this.lookedAt - TICK_MS;
    this.lookedAt = silence;
    if (stoodStillMs > STILL_MS) registry.excuse(stoodStillMs, silence);
    for (const entry of registry.sweep(silence)) this.nodeChanged(entry);
    for (const entry of registry.silent(silence)) loseLeases(this.state, entry);
    if (silence - this.countersAt >= COUNTERS_MS) {
      this.countersAt = silence;
      registry.keepCounters();
    }
  }

  /** Finished tasks beyond their retention go, a bounded number at a time. */
  private async prune(): Promise<void> {
    const { clock, store, retentionMs } = this.parts;
    if (clock.monotonic() - this.prunedAt < PRUNE_MS) return;
    this.prunedAt = clock.monotonic();
    await store.prune({ endedBefore: clock.wall() - retentionMs, limit: PRUNE_TASKS_MAX });
  }
}
