/**
 * Who may come onto this machine's nats-server while another one leads: whom that one has let in, as the store tells.
 *
 * M1. While this machine leads, its coordinator says so itself, sooner than the store's reader could.
 * M2. Where each server is alone, nobody is let in here: what a node would leave in a stream of this one is read by nobody, and a node
 *     that is turned away asks where the coordinator is.
 */
import type { NatsServer } from "../bus/nats-server.ts";
import { BusGate } from "../coordinator/bus-gate.ts";
import { Registry } from "../coordinator/registry.ts";
import type { ControlSeats } from "../store/control-seats.ts";
import type { EtcdReader } from "../store/etcd-reader.ts";
import type { Rows } from "../store/store.ts";
import type { Clock } from "../system/clock.ts";
import type { Log } from "../system/log.ts";

export interface MemberGateParts {
  readonly reader: EtcdReader;
  readonly server: NatsServer;
  readonly coordinatorKey: string;
  /** Are the control nodes' servers one? And a listener for when that changes. */
  readonly clustered: () => boolean;
  readonly seats: Pick<ControlSeats, "onChange">;
  readonly clock: Clock;
  readonly log: Log;
}

export class MemberGate {
  private readonly parts: MemberGateParts;
  private readonly gate: BusGate;
  private readonly stopListening: () => void;
  private resting = false;
  private last: Promise<void> = Promise.resolve();

  constructor(parts: MemberGateParts) {
    this.parts = parts;
    const { reader, server, coordinatorKey, clock, log } = parts;
    const registry = (): Registry => new Registry(parts.clustered() ? reader.present().nodes : [], coordinatorKey);
    // It keeps no streams and believes nobody: that is the leader's.
    const others = { keyring: { set: () => undefined }, bus: { keepFor: () => Promise.resolve() } };
    this.gate = new BusGate({ ...others, busServer: server, clock, log }, { all: () => registry().all(), twins: () => registry().twins() });
    const stopHearing = reader.onChange((heard) => {
      if (heard.kind === "loaded" || changesNodes(heard.rows)) this.authorize();
    });
    const seated = parts.seats.onChange(() => this.authorize());
    this.stopListening = () => (stopHearing(), seated.stop());
    this.authorize();
  }

  /** Resolves when nats-server has heard of everybody who is in by now, or has refused it for the moment. */
  async told(): Promise<void> {
    await this.last;
  }

  /** M1. */
  rest(): void {
    this.resting = true;
  }

  resume(): void {
    this.resting = false;
    this.authorize();
  }

  close(): void {
    this.stopListening();
    this.gate.stop();
  }

  private authorize(): void {
    if (this.resting) return;
    this.last = this.gate.authorize().catch((error: unknown) => {
      this.parts.log.warn({ err: error }, "nats-server has not taken who may come in; it is told again");
    });
  }
}

function changesNodes({ nodes = [], nodesRemoved = [] }: Rows): boolean {
  return nodes.length > 0 || nodesRemoved.length > 0;
}
