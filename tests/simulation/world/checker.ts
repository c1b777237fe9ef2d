/**
 * The one checker of what must hold (reference: invariants I1–I15, promises G1–G6; P1 in turn.ts, S3 in store.ts, L1–L3 in leadership.ts). It is shown every commit as it becomes
 * true, every beginning and end of work on a node, and every answer that a client got; it asks no role for its opinion.
 * Nothing is thrown, because a role would catch it: violations are gathered and looked at after each step.
 */
import { taskKey, type NodeId, type TaskId } from "@openclaw-cluster/contract/ids";
import type { TaskState } from "@openclaw-cluster/contract/task";
import type { AttemptRow, Batch } from "../../../cluster/src/store/store.ts";
import { TERM_S } from "../../../cluster/src/store/leadership.ts";
import { demand, isTerminal, type TaskRecord } from "../../../cluster/src/core/task.ts";
import type { PartyClock } from "./party-clock.ts";
import { isReachable } from "./reachable.ts";
import type { VirtualTime } from "./time.ts";

export interface Violation {
  readonly what: string;
  /** The task it is about. */
  readonly key?: number | undefined;
  readonly text: string;
  readonly atMs: number;
}

/** One execution of an attempt, from its beginning on a node to its end. */
export interface Run {
  readonly key: number;
  readonly attempt: number;
  readonly node: NodeId;
  readonly life: PartyClock;
  readonly slots: number;
  /** When a later life of the process took it up again. */
  readonly takenUpAt?: number | undefined;
}

/** What the machine itself knows of what may run on it. */
export interface Host {
  readonly id: NodeId;
  readonly slots: number;
  /** Why it may not run there; undefined: it may. */
  forbids(task: TaskRecord): string | undefined;
}

/** After it woke or began a new life, a node works for a moment without knowing that its leases are gone: it asks, and stops (L2 in lease-clock.ts). */
const WAKING_MS = 8_000;
/** Who slept may believe so much longer that it leads: the rest of its term passes by its own clock. Nothing that it writes is taken. */
export const UNAWARE_MS = TERM_S * 1_000 + 500;
/**
 * After all trouble: a call that was lost before is given up (5 s), a term of one that died runs out (TERM_S and etcd's half second),
 * its end is heard or looked for (TERM_S), and one that failed tries again (2 s).
 */
export const LEADERLESS_MS_MAX = 15_000;

export class Checker {
  readonly violations: Violation[] = [];
  readonly running = new Set<Run>();
  readonly tasks = new Map<number, TaskRecord>();
  /** Submitted and answered, by the key that was given. */
  private readonly answered = new Map<string, string>();
  private readonly epochs = new Map<number, object>();
  /** How often the store was claimed. */
  terms = 0;
  /** The newest claim. */
  private seat: { readonly epoch: number; readonly by: object } | undefined;
  /** Those that believe that they lead. */
  private readonly believers = new Set<PartyClock>();
  /** By submit key, what was accepted under it. */
  private readonly kept = new Map<string, string>();
  private readonly ended = new Map<number, Set<number>>();
  /** Runs whose end nobody has accepted yet, by task. */
  private readonly unsettled = new Map<number, Run[]>();
  /** A person's word that a task may run once more. */
  private readonly permits = new Map<number, number>();
  private readonly neverToRun = new Set<number>();
  /** Attempts of which the store knows that they have acted. */
  private readonly acted = new Set<string>();
  /** What was seen of each task, for whoever looks into a failure. */
  private readonly stories = new Map<number, string[]>();
  private readonly time: VirtualTime;

  constructor(time: VirtualTime) {
    this.time = time;
  }

  /** Tasks that are not over. */
  get open(): number {
    return this.tasks.values().reduce((count, { state }) => count + (isTerminal(state) ? 0 : 1), 0);
  }

  fault(what: string, text: string, key?: number): void {
    this.violations.push({ what, text, key, atMs: Math.round(this.time.now) });
  }

  storyOf(key: number): readonly string[] {
    return this.stories.get(key) ?? [];
  }

  private tell(key: number, text: string): void {
    const story = this.stories.get(key) ?? [];
    story.push(`${(this.time.now / 1_000).toFixed(3)} s: t${key} ${text}`);
    this.stories.set(key, story);
  }

  /** A client was told 2xx. */
  accepted(key: string | undefined, ids: readonly TaskId[]): void {
    for (const id of ids) if (!this.tasks.has(taskKey(id))) this.fault("I1", `${id} was answered and is not in the store`);
    if (key === undefined) return;
    const before = this.answered.get(key);
    this.answered.set(key, ids.join());
    if (before !== undefined && before !== ids.join()) this.fault("G4", `the key ${key} stood for ${before}, and now for ${ids.join()}`);
  }

  /** A person lets it run once more: by hand, or as the answer to a question. */
  permitted(id: TaskId): void {
    this.tell(taskKey(id), "may run once more, says a person");
    this.permits.set(taskKey(id), (this.permits.get(taskKey(id)) ?? 0) + 1);
    this.neverToRun.delete(taskKey(id));
  }

  /** A client was told how a task is; `before`: its last change that was committed when it asked. */
  read(id: TaskId, { before = 0, told }: { readonly before?: number | undefined; readonly told: number }): void {
    const key = taskKey(id);
    const committed = this.tasks.get(key)?.seq ?? 0;
    if (told > committed) this.fault("P1", `${id} was shown after its change ${told}, and ${committed} is committed`, key);
    if (told < before) this.fault("S3", `${id} was shown as after its change ${told}, and ${before} had been committed`, key);
  }

  /** L1: epochs only grow, and each is one coordinator's. */
  claimed(epoch: number, by: object): void {
    if (epoch <= (this.seat?.epoch ?? 0)) this.fault("L1", `epoch ${epoch} was claimed after epoch ${this.seat?.epoch}`);
    this.terms += 1;
    this.seat = { epoch, by };
  }

  /** It begins to believe that it leads, or ends to. */
  leads(life: PartyClock, does: boolean): void {
    if (does) this.believers.add(life);
    else this.believers.delete(life);
  }

  /** L2, after each step: of those that could know, one at most believes that it leads. Whoever stands still, or did a moment ago, could not. */
  lookAtLeaders(): void {
    if (this.believers.size < 2) return;
    const aware = [...this.believers].filter(({ running, wokeAt }) => running && (wokeAt === 0 || this.time.now - wokeAt > UNAWARE_MS));
    if (aware.length > 1) this.fault("L2", `${aware.length} coordinators believe that they lead`);
  }

  committed(batch: Batch, life: object): void {
    if (this.seat !== undefined && this.seat.by !== life)
      this.fault("L1", `a commit under epoch ${batch.epoch} was taken after another one's claim of epoch ${this.seat.epoch}`);
    const owner = this.epochs.get(batch.epoch);
    if (owner !== undefined && owner !== life) this.fault("I7", `two coordinators have committed under epoch ${batch.epoch}`);
    this.epochs.set(batch.epoch, life);
    for (const { owner: whose, key, runs } of batch.keys ?? []) {
      const name = JSON.stringify([whose, key]);
      if (this.kept.has(name)) this.fault("G4", `the key ${key} was accepted for ${this.kept.get(name)}, and again for ${runs.join()}`);
      this.kept.set(name, runs.join());
    }
    for (const row of batch.attempts ?? []) this.attemptEnded(row);
    for (const task of [...(batch.created ?? []), ...(batch.changed ?? [])]) this.changed(this.tasks.get(task.key), task);
  }

  began(run: Run, host: Host, task: TaskRecord | undefined): void {
    const isResumed = run.takenUpAt !== undefined;
    this.running.add(run);
    this.tell(run.key, `begins as attempt ${run.attempt} on ${host.id}${isResumed ? ", again" : ""}`);
    const name = `attempt ${run.attempt} of t${run.key}`;
    if (task === undefined) return this.fault("I1", `${name} runs on ${host.id}, and nobody knows the task`, run.key);
    if (isResumed) return;
    if (this.neverToRun.has(run.key)) this.fault("I10", `${name} began on ${host.id} after the task was cancelled unstarted`, run.key);
    const why = host.forbids(task);
    if (why !== undefined) this.fault("I8", `${name} began on ${host.id}, which ${why}`, run.key);
    const used = [...this.running].filter(({ life }) => life === run.life).reduce((sum, { slots }) => sum + slots, 0);
    if (used > host.slots) this.fault("I9", `${used} slots are in use on ${host.id}, which has ${host.slots}`);
    this.beganAgain(run, task);
  }

  finished(run: Run): void {
    this.tell(run.key, `ends as attempt ${run.attempt} on ${run.node}`);
    this.running.delete(run);
  }

  /** The process ended, and with it what it ran; `survives`: that goes on without it, as a turn in its Gateway. */
  died(life: PartyClock, survives: (run: Run) => boolean): void {
    for (const run of this.running) {
      if (run.life !== life) continue;
      this.tell(run.key, `loses its process on ${run.node}`);
      if (!survives(run)) this.running.delete(run);
    }
  }

  /** Everything is at rest: nothing may be left over. */
  atRest(attempts: ReadonlyMap<number, readonly { n: number }[]>): void {
    for (const task of this.tasks.values()) {
      if (!isTerminal(task.state))
        this.fault("I13", `t${task.key} is still ${task.state} (${task.reason}), attempt ${task.attempt}`, task.key);
      const told = (attempts.get(task.key)?.length ?? 0) + (task.state === "succeeded" ? 1 : 0);
      if (told !== task.attempt)
        this.fault("I11", `t${task.key} (${task.state}, ${task.reason}) had ${task.attempt} attempts, ${told} are told of`, task.key);
    }
    for (const { key, attempt, node, life } of this.running) {
      if (life.alive) this.fault("I14", `attempt ${attempt} of t${key} (${this.tasks.get(key)?.state}) still runs on ${node}`, key);
    }
  }

  private changed(before: TaskRecord | undefined, task: TaskRecord): void {
    const name = `t${task.key}`;
    this.tasks.set(task.key, task);
    this.tell(task.key, `is ${task.state} (${task.reason}), attempt ${task.attempt} on ${task.lease?.node ?? "no node"}`);
    if (task.acted) this.acted.add(`${task.key} ${task.attempt}`);
    const from: readonly TaskState[] = before === undefined ? ["queued", "scheduled"] : [before.state];
    const steps = task.seq - (before?.seq ?? 1);
    if (!from.some((state) => isReachable(state, task.state, steps)))
      this.fault("I6", `${name} went from ${from.join(" or ")} to ${task.state} in ${steps} steps`, task.key);
    if (task.attempt < (before?.attempt ?? 0)) this.fault("I4", `${name}'s attempts went back to ${task.attempt}`, task.key);
    if (before !== undefined && isTerminal(before.state) && task.state !== before.state && !this.permits.has(task.key))
      this.fault("I2", `${name} was ${before.state} and is ${task.state}, and nobody asked for it`, task.key);
    if (task.state === "succeeded" && before?.state !== "succeeded") this.succeeded(task);
    if (task.state === "cancelled" && task.attempt === 0) this.neverToRun.add(task.key);
    if (isTerminal(task.state) || task.reason === "attempt_failed") this.unsettled.delete(task.key);
  }

  /** I3: the result names the attempt that made it. */
  private succeeded(task: TaskRecord): void {
    const { attempt, node } = (task.result ?? {}) as { attempt?: number; node?: string };
    if (attempt !== task.attempt || node !== task.placement?.node)
      this.fault(
        "I3",
        `t${task.key}, attempt ${task.attempt} on ${task.placement?.node}, has the result of attempt ${attempt} on ${node}`,
        task.key,
      );
  }

  private attemptEnded({ task: key, attempt }: AttemptRow): void {
    const numbers = this.ended.get(key) ?? new Set();
    if (numbers.has(attempt.n)) this.fault("I4", `attempt ${attempt.n} of t${key} has ended twice`, key);
    this.ended.set(key, numbers.add(attempt.n));
    // Who asks for a start within a time wants it given up, whether it has started unheard or not.
    if (attempt.outcome !== "lost" || attempt.error?.code === "start_timeout") return;
    for (const run of this.running) {
      const unaware = !run.life.running || this.time.now - Math.max(run.life.wokeAt, run.takenUpAt ?? 0) < WAKING_MS;
      if (run.key === key && run.attempt === attempt.n && !unaware)
        this.fault("I5", `attempt ${attempt.n} of t${key} was given away while ${run.node} still works at it`, key);
    }
  }

  /** G5: what must not run twice by itself, does not: neither as another attempt, nor as the same one in a later life of its node. */
  private beganAgain(run: Run, task: TaskRecord): void {
    const open = this.unsettled.get(run.key) ?? [];
    const onLost = task.spec.onLost ?? (open.some(({ attempt }) => this.acted.has(`${run.key} ${attempt}`)) ? "ask" : "retry");
    if (open.length > 0 && onLost !== "retry") {
      const permits = this.permits.get(run.key) ?? 0;
      if (permits === 0)
        this.fault("G5", `t${run.key} (onLost ${onLost}) began a second time by itself, as attempt ${run.attempt}`, run.key);
      else this.permits.set(run.key, permits - 1);
      open.length = 0;
    }
    open.push(run);
    this.unsettled.set(run.key, open);
  }
}

export const slotsOf = (task: TaskRecord): number => demand(task.spec).slots;
