/**
 * Says every HEARTBEAT_MS that this node lives, how busy it is and what it holds, and now and then what it is. Also
 * looks at the other direction: a node that has been without the bus for too long must take its attempts for given away.
 *
 * H1. Facts go with the first heartbeat of each connection, when they changed, and when the coordinator asks.
 * H2. After LEASE_MS without the bus, whatever runs is stopped (DESIGN G6): a cancel could not reach it. By the
 *     monotonic clock, and by looking at the connection at each beat, so a process that was stopped meanwhile and
 *     finds its connection dead stops its work at the first beat after it wakes.
 */
import type { NodeId } from "@openclaw-cluster/contract/ids";
import type { NodeFacts } from "@openclaw-cluster/contract/node";
import type { AttemptRef, Heartbeat as HeartbeatMessage } from "@openclaw-cluster/contract/wire";
import type { Bus } from "../bus/bus.ts";
import { heartbeatFrom } from "../bus/subjects.ts";
import type { Clock, Timer } from "../system/clock.ts";
import type { Log } from "../system/log.ts";
import type { MachineLoad } from "./load.ts";

const HEARTBEAT_MS = 2_000;
/** Twice the silence after which the coordinator gives leases away; short restarts of it cost no work. */
const LEASE_MS = 30_000;
const FACTS_MS = 30_000;
/** The first heartbeat waits for facts no longer than this; a Gateway that starts can take half a minute. */
const FACTS_FIRST_MS = 5_000;

export interface HeartbeatParts {
  readonly node: NodeId;
  readonly boot: number;
  readonly bus: Bus;
  readonly clock: Clock;
  readonly log: Log;
  load(): Promise<MachineLoad>;
  facts(): Promise<NodeFacts>;
  running(): number;
  held(): Iterable<AttemptRef>;
  leaseLost(): void;
}

export class Heartbeat {
  private readonly parts: HeartbeatParts;
  private timer: Timer | undefined;
  private load: MachineLoad = { cpu: 0, memoryFreeMiB: 0, diskFreeMiB: 0 };
  private facts: NodeFacts | undefined;
  private factsText = "";
  private factsDue = true;
  private factsAtMs: number;
  private gathering: Promise<void> | undefined;
  private gatherAgain = false;
  private contactAtMs: number;
  private leaving = false;
  private stopped = false;

  constructor(parts: HeartbeatParts) {
    this.parts = parts;
    this.factsAtMs = this.contactAtMs = parts.clock.monotonic();
  }

  /** Resolves after the first heartbeat. */
  async start(): Promise<void> {
    const late = Promise.withResolvers<void>();
    const timer = this.parts.clock.after(FACTS_FIRST_MS, late.resolve);
    await Promise.race([this.refreshFacts(), late.promise]);
    timer.cancel();
    await this.beat();
    this.arm();
  }

  /** A heartbeat now, with facts: the connection is new, or the coordinator asks. */
  async announce(): Promise<void> {
    this.factsDue = true;
    await this.beat();
  }

  /** Gathers the facts anew and sends them if they changed. A change that comes while they are being gathered is not missed. */
  async refreshFacts(): Promise<void> {
    this.gatherAgain = true;
    this.gathering ??= this.gatherAll().finally(() => {
      this.gathering = undefined;
    });
    await this.gathering;
  }

  /** From now on every heartbeat says goodbye. */
  async goodbye(): Promise<void> {
    this.leaving = true;
    await this.beat();
  }

  stop(): void {
    this.stopped = true;
    this.timer?.cancel();
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
      this.checkLease();
      void this.beat();
      if (this.parts.clock.monotonic() - this.factsAtMs >= FACTS_MS) void this.refreshFacts();
    });
  }

  private checkLease(): void {
    const now = this.parts.clock.monotonic();
    if (this.parts.bus.connected) this.contactAtMs = now;
    else if (now - this.contactAtMs >= LEASE_MS) this.parts.leaseLost();
  }

  /** Never rejects. */
  private async beat(): Promise<void> {
    const { node, bus, log } = this.parts;
    try {
      this.load = await this.parts.load();
    } catch (error) {
      log.warn({ err: error }, "the machine's load could not be read; the last one is sent again");
    }
    if (this.stopped || !bus.connected) return;
    try {
      bus.publish(heartbeatFrom(node), this.message());
      if (this.facts !== undefined) this.factsDue = false;
    } catch (error) {
      log.error({ err: error }, "a heartbeat could not be sent");
    }
  }

  private message(): HeartbeatMessage {
    const { node, boot } = this.parts;
    const held = [...this.parts.held()];
    return {
      node,
      boot,
      load: { ...this.load, running: this.parts.running(), held: held.length },
      ...(this.factsDue && this.facts && { facts: this.facts }),
      held,
      ...(this.leaving && { goodbye: true }),
    };
  }
}
