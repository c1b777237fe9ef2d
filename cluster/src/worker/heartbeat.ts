/**
 * Says every HEARTBEAT_MS that this node lives, how busy it is and what it holds, and now and then what it is. The answers
 * renew its leases (lease-clock.ts) and name what of it is not this node's any more.
 *
 * H1. Facts go with the first heartbeat of each connection, when they changed, and when the coordinator asks; each time
 *     until they are answered.
 * H2. Only the answer of a coordinator that is obeyed counts. Its offers answer too: they name the last heartbeat that it
 *     had heard, and may overtake the answer to that.
 * H3. Whether this node is heard is told from the second heartbeat on that finds the one before it unanswered, or from the first that
 *     nobody listens to, until an answer comes. A connection that is lost, or new, says nothing about it.
 * H4. The answer of a coordinator that speaks no version of the protocol that this build does renews nothing: neither side can know
 *     what the other would make of its words.
 * H5. Whoever asks for sessions is told when the mark of the cluster's places is another one than in the answer before.
 */
import { ClusterError } from "@openclaw-cluster/contract/errors";
import type { NodeId } from "@openclaw-cluster/contract/ids";
import type { NodeFacts } from "@openclaw-cluster/contract/node";
import { isOlder, PROTOCOL, protocolText, spoken, type Protocol } from "@openclaw-cluster/contract/protocol";
import {
  areAttemptRefs,
  HeartbeatReply,
  type AttemptRef,
  type Goodbye,
  type Heartbeat as HeartbeatMessage,
} from "@openclaw-cluster/contract/wire";
import type { Bus, Subscription } from "../bus/bus.ts";
import { heartbeatFrom } from "../bus/subjects.ts";
import type { Clock, Timer } from "../system/clock.ts";
import type { Log } from "../system/log.ts";
import { sparingLog, type SparingLog } from "../system/sparing-log.ts";
import { sprawls } from "../system/sprawl.ts";
import type { JudgedLoad } from "./disk-room.ts";
import { LeaseClock } from "./lease-clock.ts";

const HEARTBEAT_MS = 2_000;
/** On a slow line that is full both ways it takes 3 s and more; a later one would renew little. */
const ANSWER_MS = 5_000;
/** What renews a lease was sent a few heartbeats ago. */
const SENT_MAX = 16;
const FACTS_MS = 30_000;
/** The first heartbeat waits for facts no longer than this; a Gateway that starts can take half a minute. */
const FACTS_FIRST_MS = 5_000;

export interface HeartbeatParts {
  readonly node: NodeId;
  readonly boot: number;
  /** The number of the next message of this life. */
  count(): number;
  readonly bus: Bus;
  readonly clock: Clock;
  readonly log: Log;
  load(): Promise<JudgedLoad>;
  facts(): Promise<NodeFacts>;
  running(): number;
  held(): Iterable<AttemptRef>;
  /** Is a coordinator of this epoch obeyed? */
  admits(epoch: number): boolean;
  /** Of the one that is; 0: none yet. */
  epoch(): number;
  /** Of what is held here, these are others' by now, or are being cancelled. */
  stopAttempts(refs: readonly AttemptRef[]): void;
  leaseLost(): void;
}

export class Heartbeat {
  private readonly parts: HeartbeatParts;
  private readonly complaints: SparingLog;
  private timer: Timer | undefined;
  private load: JudgedLoad = { cpu: 0, memoryFreeMiB: 0, diskFreeMiB: 0 };
  private facts: NodeFacts | undefined;
  private factsText = "";
  private factsDue = true;
  private factsAtMs: number;
  private gathering: Promise<void> | undefined;
  private gatherAgain = false;
  private readonly leases: LeaseClock;
  /** As the last answer said. */
  private leaseMs = 0;
  /** Of the protocol, as it is spoken with whoever answered last; until then the newest, for what cannot be read is told again. */
  version = PROTOCOL.newest;
  /** Of the latest heartbeats, by their numbers. */
  private readonly sentAtMs = new Map<number, number>();
  /** The first one since the last answer, over this connection. */
  private unansweredSinceMs: number | undefined;
  private isHeard = true;
  private readonly hearing = new Set<(heard: boolean) => void>();
  private places: string | undefined;
  private readonly following = new Set<() => void>();
  private leaving: Goodbye | undefined;
  private stopped = false;

  constructor(parts: HeartbeatParts) {
    this.parts = parts;
    this.complaints = sparingLog(parts.log, parts.clock);
    this.factsAtMs = parts.clock.monotonic();
    this.leases = new LeaseClock({ clock: parts.clock, over: () => parts.leaseLost(), ask: () => void this.beat() });
  }

  /** Resolves after the first heartbeat. */
  async start(): Promise<void> {
    const late = Promise.withResolvers<void>();
    const timer = this.parts.clock.after(FACTS_FIRST_MS, late.resolve);
    await Promise.race([this.refreshFacts(), late.promise]);
    timer.cancel();
    this.leases.start();
    await this.beat();
    this.arm();
  }

  /** A heartbeat now, with facts: the connection is new, or the coordinator asks. */
  async announce(): Promise<void> {
    this.factsDue = true;
    this.unansweredSinceMs = undefined;
    await this.beat();
  }

  /** H3. */
  get heard(): boolean {
    return this.isHeard;
  }

  onHeard(listener: (heard: boolean) => void): Subscription {
    this.hearing.add(listener);
    return { stop: () => this.hearing.delete(listener) };
  }

  /** H5. */
  onPlaces(listener: () => void): Subscription {
    this.following.add(listener);
    return { stop: () => this.following.delete(listener) };
  }

  /** Gathers the facts anew and sends them if they changed. A change that comes while they are being gathered is not missed. */
  async refreshFacts(): Promise<void> {
    this.gatherAgain = true;
    this.gathering ??= this.gatherAll().finally(() => {
      this.gathering = undefined;
    });
    await this.gathering;
  }

  /** From now on every heartbeat says goodbye, until `backAgain`. Resolves when one has been sent. */
  async goodbye(goodbye: Goodbye): Promise<void> {
    this.leaving = goodbye;
    await this.beat();
  }

  backAgain(): void {
    this.leaving = undefined;
    void this.announce();
  }

  /** May something new begin, which was offered by one who had heard that heartbeat? */
  mayBegin(heard: unknown): boolean {
    const sentAtMs = this.sentAtMs.get(heard as number);
    if (sentAtMs !== undefined) this.answered(sentAtMs, this.leaseMs);
    return this.leases.open;
  }

  /** The coordinator goes away on purpose, and comes back. */
  pause(ms: number): void {
    this.leases.pause(ms);
  }

  stop(): void {
    this.stopped = true;
    this.timer?.cancel();
    this.leases.stop();
  }

  private async gatherAll(): Promise<void> {
    while (this.gatherAgain && !this.stopped) {
      this.gatherAgain = false;
      await this.gather();
    }
  }

  private async gather(): Promise<void> {
    this.factsAtMs = this.parts.clock.monotonic();
    try {
      const facts = await this.parts.facts();
      const text = JSON.stringify(facts);
      if (text === this.factsText) return;
      const isFirst = this.facts === undefined;
      this.facts = facts;
      this.factsText = text;
      this.factsDue = true;
      if (!isFirst) await this.beat();
    } catch (error) {
      this.parts.log.warn({ err: error }, "the node's facts could not be gathered");
    }
  }

  private arm(): void {
    if (this.stopped) return;
    this.timer = this.parts.clock.after(HEARTBEAT_MS, () => {
      this.arm();
      this.leases.look();
      void this.beat();
      if (this.parts.clock.monotonic() - this.factsAtMs >= FACTS_MS) void this.refreshFacts();
    });
  }

  /** Never rejects. */
  private async renew(message: HeartbeatMessage): Promise<void> {
    const { node, bus, clock, log } = this.parts;
    const sentAtMs = clock.monotonic();
    this.noteSent(message.n, sentAtMs);
    try {
      const { epoch, leaseMs, stop = [], protocol, places } = readReply(await bus.request(heartbeatFrom(node), message, ANSWER_MS));
      if (!this.parts.admits(epoch)) return;
      const version = spoken(PROTOCOL, protocol);
      if (version === undefined) return this.apart(protocol);
      this.version = version;
      if (message.facts !== undefined && message.facts === this.facts) this.factsDue = false;
      this.leaseMs = leaseMs;
      this.answered(sentAtMs, leaseMs);
      this.notePlaces(places);
      this.parts.stopAttempts(stop);
    } catch (error) {
      const nobody = error instanceof ClusterError && error.code === "bus_unreachable";
      if (nobody && bus.connected) this.become(false);
      if (nobody || (error instanceof ClusterError && error.code === "bus_timeout"))
        log.debug({ err: error }, "a heartbeat was not answered");
      else this.complaints.warn("coordinator", { err: error }, "the answer to a heartbeat was none");
    }
  }

  /** One that was sent then. */
  private answered(sentAtMs: number, leaseMs: number): void {
    this.leases.renewed(sentAtMs, leaseMs);
    this.unansweredSinceMs = undefined;
    this.become(true);
  }

  private notePlaces(places: string | undefined): void {
    const isOther = this.places !== undefined && places !== undefined && places !== this.places;
    this.places = places ?? this.places;
    if (isOther) for (const listener of this.following) listener();
  }

  /** H4. */
  private apart(theirs: Protocol | undefined): void {
    this.complaints.warn(
      "protocol",
      { update: isOlder(PROTOCOL, theirs) ? this.parts.node : "the control nodes" },
      `this machine speaks ${protocolText(PROTOCOL)}, and the coordinator ${protocolText(theirs)}: no work until one of them is updated`,
    );
  }

  /** H3. */
  private become(heard: boolean): void {
    if (this.isHeard === heard || this.stopped) return;
    this.isHeard = heard;
    for (const listener of this.hearing) listener(heard);
  }

  private noteSent(n: number, atMs: number): void {
    const unansweredMs = atMs - (this.unansweredSinceMs ??= atMs);
    if (unansweredMs >= HEARTBEAT_MS) this.become(false);
    this.sentAtMs.set(n, atMs);
    if (this.sentAtMs.size <= SENT_MAX) return;
    for (const oldest of this.sentAtMs.keys()) return void this.sentAtMs.delete(oldest);
  }

  /** A heartbeat now. Never rejects. */
  async beat(): Promise<void> {
    const { bus, log } = this.parts;
    try {
      this.load = await this.parts.load();
    } catch (error) {
      log.warn({ err: error }, "the machine's load could not be read; the last one is sent again");
    }
    if (!bus.connected) this.unansweredSinceMs = undefined;
    if (this.stopped || !bus.connected) return;
    void this.renew(this.message());
  }

  private message(): HeartbeatMessage {
    const { node, boot, count, epoch } = this.parts;
    const held = [...this.parts.held()];
    return {
      node,
      boot,
      n: count(),
      load: { ...this.load, running: this.parts.running(), held: held.length },
      ...(this.factsDue && this.facts && { facts: this.facts }),
      held,
      ...(this.leaving !== undefined && { goodbye: this.leaving }),
      ...(this.leases.paused && { paused: true }),
      epoch: epoch(),
    };
  }
}

const STOP = ["stop"] as const satisfies readonly (keyof HeartbeatReply)[];

/** Also a coordinator's answer can be rubbish without end. */
function readReply(body: unknown): HeartbeatReply {
  const { stop = [] } = (body ?? {}) as { stop?: unknown };
  if (!areAttemptRefs(stop) || sprawls(body, STOP)) throw new Error("the answer to a heartbeat is none");
  return HeartbeatReply.parse(body);
}
