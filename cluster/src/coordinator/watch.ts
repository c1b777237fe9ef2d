/**
 * Keeps time for the coordinator: rings alarms, judges silence, and lets go of what is old. One timer for all of it.
 *
 * W1. Silence is looked at every TICK_MS, however many commits and alarms there are.
 * W2. While the coordinator itself stood still it heard nobody, and that is nobody's silence.
 * W3. A time of day that is set back does not make pauses between attempts longer. (What was asked for a time of day, as
 *     runAt and deadline are, goes by it.)
 */
import type { Timer } from "../system/clock.ts";
import { loseLeases } from "./heartbeats.ts";
import type { Leading } from "./lead-parts.ts";
import { Overruns } from "./overruns.ts";
import { ringAlarms } from "./ringing.ts";
import { WordWatch } from "./word-watch.ts";

/** Silence and alarms are looked at this often, and sooner when an alarm says so. */
const TICK_MS = 1_000;
/** Looks that are further apart than this are no sign of load: the machine slept, or the process was stopped. */
const STILL_MS = 3_000;
/** The time of day is put right by less than this at a time; more is a jump. */
const JUMP_MS = 5_000;
/** Counters of nodes are written back this often; they are statistics, not truth. */
const COUNTERS_MS = 10_000;
const PRUNE_MS = 60_000;
/** Promised for an idempotency key (README, G4), however soon its task goes. */
const SUBMIT_KEYS_MS = 86_400_000;
/** In one go, so that commits wait for a moment only. Where as many went there may be more: the next go is at the next look. */
const PRUNE_ROWS_MAX = 2_000;

export class Watch {
  private readonly lead: Leading;
  private timer: Timer | undefined;
  private stopped = false;
  /** When to look again and when it was last done, by the monotonic clock. */
  private lookAt: number;
  private lookedAt: number;
  private countersAt: number;
  private pruneAt: number;
  private isPruning = false;
  /** The time of day's lead over the monotonic clock. */
  private leadMs: number;
  private readonly overruns = new Overruns();
  private massLoss = false;
  private readonly words: WordWatch | undefined;

  constructor(lead: Leading) {
    this.lead = lead;
    this.lookedAt = this.countersAt = lead.parts.clock.monotonic();
    this.pruneAt = this.lookedAt + PRUNE_MS;
    this.lookAt = this.lookedAt + TICK_MS;
    this.leadMs = lead.parts.clock.wall() - this.lookedAt;
    const { words, clock, log } = lead.parts;
    this.words = words && new WordWatch({ words, epoch: lead.state.epoch, clock, log });
  }

  /** After each commit: alarms may have changed. The regular look keeps its time. */
  arm(): void {
    const { clock } = this.lead.parts;
    const next = this.lead.state.ledger.alarms.next();
    this.wakeIn(Math.min(this.lookAt - clock.monotonic(), next === undefined ? TICK_MS : next - clock.wall()));
  }

  /** W3, at the beginning of each turn: what it writes goes by the time of day as it is then. */
  mindJumps(): void {
    const { ledger, clock, log } = this.lead.state;
    const leadMs = clock.wall() - clock.monotonic();
    const jumpedMs = leadMs - this.leadMs;
    this.leadMs = leadMs;
    if (jumpedMs > -JUMP_MS) return;
    log.warn({ jumpedMs }, "this machine's time of day was set back");
    for (const task of ledger.all()) {
      if (task.state === "scheduled" && task.reason === "attempt_failed" && task.dueAt !== undefined)
        ledger.write(task, { task: { ...task, dueAt: task.dueAt + jumpedMs } });
    }
  }

  stop(): void {
    this.stopped = true;
    this.timer?.cancel();
  }

  private wakeIn(ms: number): void {
    if (this.stopped) return;
    this.timer?.cancel();
    this.timer = this.lead.parts.clock.after(Math.max(0, ms), () => this.tick());
  }

  private tick(): void {
    const { clock, log } = this.lead.parts;
    this.lookAt = clock.monotonic() + TICK_MS;
    this.lead.turn.add({
      apply: () => this.look(),
      committed: () => undefined,
      failed: () => this.wakeIn(TICK_MS),
    });
    this.prune().catch((error: unknown) => log.warn({ error }, "pruning failed; it is tried again"));
  }

  private look(): void {
    const { state } = this.lead;
    const now = state.clock.monotonic();
    ringAlarms(state);
    void this.words?.read();
    const stoodStillMs = now - this.lookedAt - TICK_MS;
    this.lookedAt = now;
    if (stoodStillMs > STILL_MS) state.registry.excuse(stoodStillMs, now);
    this.judgeSilence(now);
    this.overruns.look(state);
    if (now - this.countersAt < COUNTERS_MS) return;
    this.countersAt = now;
    state.registry.keepCounters();
  }

  private judgeSilence(now: number): void {
    const { state } = this.lead;
    for (const entry of state.registry.sweep(now)) this.lead.nodeChanged(entry);
    for (const entry of state.registry.forfeit(now)) if (this.words?.holds(entry, now) !== true) loseLeases(state, entry);
    const massLoss = state.registry.hasMassLoss(now);
    if (massLoss && !this.massLoss) {
      state.log.error("most nodes fell silent at once: it may be this machine's network, and nothing of theirs is given away for a while");
    }
    this.massLoss = massLoss;
  }

  /** Finished tasks beyond their retention go, a bounded number at a time. */
  private async prune(): Promise<void> {
    const { clock, store, retentionMs, retentionTasks: keep } = this.lead.parts;
    if (this.isPruning || clock.monotonic() < this.pruneAt) return;
    const now = clock.wall();
    this.isPruning = true;
    this.pruneAt = clock.monotonic() + PRUNE_MS;
    try {
      const beyond = { endedBefore: now - retentionMs, submitsBefore: now - SUBMIT_KEYS_MS, ...(keep !== undefined && { keep }) };
      const { more } = await store.prune({ ...beyond, limit: PRUNE_ROWS_MAX });
      if (more) this.pruneAt = clock.monotonic();
    } finally {
      this.isPruning = false;
    }
  }
}
