/**
 * Keeps this machine's nats-server one of several, or alone, as the list of control nodes says (bus-way.ts, B1 and B2).
 *
 * N1. Each enters where its server is called before anybody counts it in; so all of them come to the same routes by themselves.
 * N2. The routes' password is made from the coordinator's seed, which all control nodes have, and nobody else.
 * N3. One that was taken out of the list does not enter again by itself: it is being demoted.
 */
import { hkdfSync } from "node:crypto";
import type { ChangingServer, NatsMembership } from "../bus/nats-changing-server.ts";
import type { ControlSeat, ControlSeats } from "../store/control-seats.ts";
import type { Clock, Timer } from "../system/clock.ts";
import type { Log } from "../system/log.ts";
import { isDue, type Authority, type ServerCertificate } from "../trust/authority.ts";
import { CLUSTER_FROM } from "./bus-way.ts";

/** NATS's usual one for routes. */
export const ROUTE_PORT = 6_222;
const NAME = "openclaw-cluster";
const PASSWORD_BYTES = 32;
/** A third of a certificate's 90 days is left when it is due. */
const LOOK_MS = 3_600_000;
const AGAIN_MS = 5_000;

export interface BusClusterParts {
  readonly node: string;
  /** Of this machine, where the other servers call. */
  readonly host: string;
  readonly port: number;
  readonly seats: ControlSeats;
  readonly authority: Pick<Authority, "certifyPeer">;
  readonly seed: Uint8Array;
  /** What stands of this machine in the list besides. */
  readonly rest: Pick<ControlSeat, "etcdMember" | "witness">;
  readonly clock: Clock;
  readonly log: Log;
}

export class BusCluster {
  private readonly parts: BusClusterParts;
  private readonly password: string;
  private certificate: ServerCertificate | undefined;
  private server: ChangingServer | undefined;
  private timer: Timer | undefined;
  private listening: { stop(): void } | undefined;
  private last: Promise<void> = Promise.resolve();
  private isClosed = false;
  /** It stood in the list, as this server has heard itself. */
  private wasIn = false;

  constructor(parts: BusClusterParts) {
    this.parts = parts;
    this.password = Buffer.from(hkdfSync("sha256", parts.seed, "", "openclaw-cluster nats routes", PASSWORD_BYTES)).toString("base64url");
  }

  /** undefined: alone. */
  membership(): NatsMembership | undefined {
    const { node, host, port, seats } = this.parts;
    const others = seats.all.filter((seat) => seat.node !== node);
    if (others.length + 1 < CLUSTER_FROM) return undefined;
    return {
      ...{ name: NAME, host, port, password: this.password, certificate: this.present() },
      routes: others.map(({ route }) => ({ host: route.host, port: route.port })),
    };
  }

  /** From now on this server follows the list. */
  async follow(server: ChangingServer): Promise<void> {
    this.server = server;
    this.listening = this.parts.seats.onChange(() => this.look());
    this.look();
    await this.last;
  }

  async close(): Promise<void> {
    this.isClosed = true;
    this.listening?.stop();
    this.timer?.cancel();
    await this.last;
  }

  private look(): void {
    this.last = this.last.then(() => this.adapt());
  }

  private async adapt(): Promise<void> {
    if (this.isClosed) return;
    const { clock, log } = this.parts;
    let againMs = LOOK_MS;
    try {
      await this.enter();
      await this.server?.become(this.membership());
      // Alone in between, it has another name now.
      await this.enter();
    } catch (error) {
      againMs = AGAIN_MS;
      log.warn({ err: error }, "nats-server is not yet what the list of control nodes says; it is tried again");
    }
    this.timer?.cancel();
    if (!this.isClosed) this.timer = clock.after(againMs, () => this.look());
  }

  /** N1, N3. */
  private async enter(): Promise<void> {
    const { node, host, port, seats, rest } = this.parts;
    const serverName = this.server?.serverName;
    if (serverName === undefined) return;
    const seat: ControlSeat = { node, route: { serverName, host, port }, ...rest };
    const there = seats.all.find((one) => one.node === node);
    this.wasIn ||= there !== undefined;
    if (this.wasIn && there === undefined) return;
    if (JSON.stringify(there) !== JSON.stringify(seat)) await seats.take(seat);
  }

  private present(): ServerCertificate {
    const { authority, host, clock } = this.parts;
    const now = clock.wall();
    if (this.certificate === undefined || isDue(this.certificate, now)) this.certificate = authority.certifyPeer([host], now);
    return this.certificate;
  }
}
