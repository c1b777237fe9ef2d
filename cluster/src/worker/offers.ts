/**
 * What comes down from the coordinator. Every message is checked here before anything acts on it: its shape, its
 * epoch, whether the attempt is known already, and whether this node's policy allows it.
 *
 * I1. A coordinator whose epoch is older than the newest one seen is not obeyed, nor are offers taken that were made to an
 *     earlier life of this daemon: what becomes of those, their coordinator decides when it hears of this one.
 * I2. An offer that was seen before runs nothing (W1): it is held, or its result waits in the outbox, or was accepted.
 * I3. Every new offer is held or answered. None is passed over in silence, or the coordinator would offer it for ever; but
 *     while this node has no lease, or is in doubt of it (lease-clock.ts): then to offer it again is what is wanted.
 */
import type { ErrorCode } from "@openclaw-cluster/contract/errors";
import type { NodeId } from "@openclaw-cluster/contract/ids";
import { Submitter } from "@openclaw-cluster/contract/submitter";
import { TaskSpec } from "@openclaw-cluster/contract/task-spec";
import {
  areAttemptRefs,
  Control,
  isAttemptRef,
  type AttemptRef,
  type Offer,
  type Offers,
  type Outcome,
} from "@openclaw-cluster/contract/wire";
import { admit, type Decision, type PolicySource } from "../core/policy.ts";
import { demand } from "../core/task.ts";
import type { Executors } from "../executors/executors.ts";
import { localTimeZone, type Clock } from "../system/clock.ts";
import type { Log } from "../system/log.ts";
import { sparingLog, type SparingLog } from "../system/sparing-log.ts";
import { problemOf, sprawls } from "../system/sprawl.ts";
import type { DiskRoom } from "./disk-room.ts";
import type { Outbox } from "./outbox.ts";
import { weigh } from "./outcome.ts";
import type { Seen } from "./seen.ts";
import type { Slots } from "./slots.ts";
import type { Spool } from "./spool.ts";

/** Offers that wait for a slot. The coordinator's own window is smaller; this holds if it is not. */
const WAITING_MAX = 8_192;
/** Looked at one by one; and in a task, what may be anything. */
const [ATTEMPTS, ANYTHING] = [["attempts"], ["value", "args"]] as const;

export interface DeskParts {
  readonly node: NodeId;
  readonly clock: Clock;
  readonly log: Log;
  readonly executors: Executors;
  readonly policy: PolicySource;
  readonly spool: Spool;
  readonly seen: Seen;
  readonly slots: Slots;
  readonly outbox: Outbox;
  readonly room: DiskRoom;
  /** The coordinator wants to hear everything now. */
  report(): void;
  /** The coordinator wants this daemon to end; `now`: without time for what runs. */
  shutdown(now: boolean): void;
  /** May something new begin (lease-clock.ts), which was offered by one who had heard that heartbeat? */
  mayBegin(heard: unknown): boolean;
  /** The coordinator goes away for so long at most, and gives nothing away meanwhile. */
  pause(ms: number): void;
}

export class Desk {
  private readonly parts: DeskParts;
  private readonly complaints: SparingLog;
  private closed = false;

  constructor(parts: DeskParts) {
    this.parts = parts;
    this.complaints = sparingLog(parts.log, parts.clock);
  }

  /** From now on offers are left lying: the goodbye tells that they are not held. */
  close(): void {
    this.closed = true;
  }

  open(): void {
    this.closed = false;
  }

  offers(body: unknown): void {
    if (this.closed) return;
    const { epoch, boot, heard, offers } = (body ?? {}) as { [Field in keyof Offers]?: unknown };
    if (!Number.isSafeInteger(epoch) || !Array.isArray(offers))
      return this.complain({}, "a message that is not an array of offers was dropped");
    if (!this.parts.spool.admits(epoch as number)) return this.complain({ epoch }, "offers of a replaced coordinator were dropped");
    // Whoever made them did not know yet that this life has begun; it learns that from the first heartbeat.
    if (boot !== this.parts.spool.boot)
      return this.mention({ ...(Number.isSafeInteger(boot) && { boot }) }, "offers to another life were dropped");
    // What lay here while this machine slept, or its leases ran out, may be another node's by now; what is not is offered again.
    if (!this.parts.mayBegin(heard)) return this.mention({}, "offers that came without a lease were dropped");
    for (const offer of offers as unknown[]) this.take(offer);
  }

  control(body: unknown): void {
    const { attempts = [] } = (body ?? {}) as { attempts?: unknown };
    if (!areAttemptRefs(attempts) || sprawls(body, ATTEMPTS)) return this.complain({}, "a control message was dropped");
    const parsed = Control.safeParse(body);
    if (!parsed.success) return this.complain({ problem: problemOf(parsed.error) }, "a control message was dropped");
    const control = parsed.data;
    if (!this.parts.spool.admits(control.epoch))
      return this.complain({ epoch: control.epoch }, "an order of a replaced coordinator was dropped");
    switch (control.kind) {
      case "cancel":
        return this.stop(control.attempts);
      case "report":
        return this.parts.report();
      case "shutdown":
        return this.parts.shutdown(control.now === true);
      case "pause":
        return this.parts.pause(control.ms);
    }
  }

  /** The coordinator has cancelled them, or given them to others. */
  stop(refs: readonly AttemptRef[]): void {
    for (const ref of refs) this.cancel(ref);
  }

  private take(body: unknown): void {
    const offer = body as Offer;
    if (!isAttemptRef(offer)) return this.complain({}, "an offer without a task, attempt and epoch was dropped");
    const { seen, slots, outbox } = this.parts;
    const last = seen.last(offer.task);
    if (offer.attempt <= last) return this.again(offer);
    seen.note(offer.task, offer.attempt);
    // The coordinator has given an earlier attempt up; two of one task do not run side by side here.
    if (last > 0) for (const earlier of slots.ofTask(offer.task)) earlier.abort("lease_lost");
    const spec = checked(offer.spec);
    if (spec === undefined) return this.refuse(offer, "bad_request", "This node's version does not understand the task.");
    const executor = this.parts.executors.get(spec.kind);
    if (executor === undefined) return this.refuse(offer, "executor_missing", `This node does not carry out tasks of kind ${spec.kind}.`);
    const submitter = this.submitterOf(spec, offer.submitter);
    const decision = this.judge(spec, submitter);
    if (!decision.allow) return this.refuse(offer, "policy_denied", `This node's policy: ${decision.reason}.`);
    if (this.parts.room.isFull) return this.refuseForRoom(offer);
    const wanted = demand(spec).slots;
    if (wanted > slots.total) return this.refuse(offer, "overloaded", `It takes ${wanted} slots, this node has ${slots.total}.`);
    if (slots.waitingCount >= WAITING_MAX) return this.refuse(offer, "overloaded", `${WAITING_MAX} tasks wait on this node already.`);
    const { task, attempt, epoch } = offer;
    slots.add({ task, attempt, epoch, spec, ...(submitter !== undefined && { submitter }) }, executor);
    outbox.touch();
  }

  private complain(fields: object, message: string): void {
    this.complaints.warn("coordinator", fields, message);
  }

  /** As `complain`, of what an honest coordinator says too. */
  private mention(fields: object, message: string): void {
    this.complaints.info("coordinator", fields, message);
  }

  /** One of no known shape is nobody. Where it makes no difference, an echo is spared the schema. */
  private submitterOf(spec: TaskSpec, said: unknown): Submitter | undefined {
    if (spec.kind === "echo" && this.parts.policy.current().users === undefined) return undefined;
    return Submitter.safeParse(said).data;
  }

  private judge(spec: TaskSpec, submitter: Submitter | undefined): Decision {
    const { node, clock, policy } = this.parts;
    return admit(policy.current(), { spec, submitter }, { node, now: clock.wall(), timeZone: localTimeZone() });
  }

  /** A doubled offer. The coordinator may have missed that it started. */
  private again(ref: AttemptRef): void {
    const running = this.parts.slots.find(ref);
    if (running !== undefined) this.parts.outbox.start(running);
  }

  private cancel(ref: AttemptRef): void {
    const { slots, seen } = this.parts;
    const running = slots.find(ref);
    if (running !== undefined) return running.abort("cancelled");
    if (slots.drop(ref)) return this.answer(ref, { kind: "cancelled" });
    if (seen.last(ref.task) >= ref.attempt) return;
    // Its offer is lost, or comes later: then it runs nothing any more.
    seen.note(ref.task, ref.attempt);
    this.answer(ref, { kind: "cancelled" });
  }

  /** It never started here; the coordinator asks others first. */
  refuse(ref: AttemptRef, code: ErrorCode, message: string): void {
    this.answer(ref, { kind: "refused", error: { code, message } });
  }

  refuseForRoom(ref: AttemptRef): void {
    this.refuse(ref, "disk_full", "The node's disk is full; it takes no new work until there is room.");
  }

  /** The end of an attempt that never started. What it says may name something long out of the offer: `weigh` cuts that. */
  private answer({ task, attempt, epoch }: AttemptRef, said: Outcome): void {
    const { outcome, bytes } = weigh(said);
    this.parts.outbox.finish({ task, attempt, epoch, endedAt: this.parts.clock.wall(), runMs: 0, outcome }, bytes, false);
  }
}

/**
 * The spec, if it is one. zod takes 2.5 µs for an echo, more than everything else that the worker does for it; so an
 * echo that carries none of the fields which a worker reads is taken after a look at its input.
 */
function checked(value: unknown): TaskSpec | undefined {
  if (isPlainEcho(value)) return value;
  if (sprawls(value, ANYTHING)) return undefined;
  const parsed = TaskSpec.safeParse(value);
  return parsed.success ? parsed.data : undefined;
}

function isPlainEcho(value: unknown): value is Extract<TaskSpec, { kind: "echo" }> {
  const { kind, input, timeouts, require, onLost } = (value ?? {}) as Record<string, unknown>;
  if (
    kind !== "echo" ||
    timeouts !== undefined ||
    require !== undefined ||
    onLost !== undefined ||
    typeof input !== "object" ||
    input === null
  )
    return false;
  const { delayMs, fail } = input as Record<string, unknown>;
  return delayMs === undefined && (fail === undefined || typeof fail === "boolean");
}
