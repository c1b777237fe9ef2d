/**
 * The machine that leads: real coordinators, one life after another, on one disk. When its process ends, its bus ends with
 * it, as a nats-server does that it runs. A second one may be started while the first is stopped; the disk must fence it.
 */
import { NodeId } from "@openclaw-cluster/contract/ids";
import type { Subscription } from "../../../cluster/src/bus/bus.ts";
import type { RamNet } from "../../../cluster/src/bus/ram.ts";
import { Rations } from "../../../cluster/src/bus/rations.ts";
import { COORDINATOR } from "../../../cluster/src/bus/subjects.ts";
import type { Coordinator } from "../../../cluster/src/coordinator/coordinator.ts";
import { openCoordinator } from "../../../cluster/src/coordinator/open.ts";
import { StoreBroken, StoreFenced } from "../../../cluster/src/store/store.ts";
import { silentLog } from "../../../cluster/src/system/log.ts";
import { Keyring } from "../../../cluster/src/trust/keyring.ts";
import { COORDINATOR_KEY, signAsCoordinator, type OpenEnvelopes } from "../../support/fake-keys.ts";
import { AUTHORITY } from "../../support/authority.ts";
import { LooseBus } from "../../support/loose-bus.ts";
import type { Chance } from "./chance.ts";
import type { Checker } from "./checker.ts";
import type { Disk } from "./disk.ts";
import { REQUEST_MS, serve, type Answer, type AskOptions, type Front, type Request } from "./front.ts";
import { PartyClock } from "./party-clock.ts";
import type { VirtualTime } from "./time.ts";

export const HEAD = "coordinator";
/** A service manager starts what has ended. */
const RESTART_MS = [500, 6_000] as const;
const DISCONNECT_MS = 20;
/** What was said last is sent before the connection closes (bus/nats-connection.ts). */
const FLUSH_MS = 5;

interface Life {
  readonly clock: PartyClock;
  readonly keyring: Keyring;
  readonly link: LooseBus;
  readonly listeners: Set<(node: NodeId) => void>;
  coordinator?: Coordinator;
}

export interface HeadParts {
  readonly time: VirtualTime;
  readonly chance: Chance;
  readonly net: RamNet;
  readonly envelopes: OpenEnvelopes;
  readonly disk: Disk;
  readonly checker: Checker;
  /** Its bus came up or went down with it. */
  onBus(up: boolean): void;
  isConnected(node: NodeId): boolean;
  /** nats-server takes these, and cuts the rest off. */
  onAuthorize?(nodes: readonly { readonly id: NodeId; readonly publicKey: string }[]): void;
}

export class Head implements Front {
  readonly skew = { ms: 0 };
  readonly isMany = false;
  loss = 0;
  private readonly parts: HeadParts;
  private lives: Life[] = [];

  constructor(parts: HeadParts) {
    this.parts = parts;
  }

  get life(): Life | undefined {
    return this.lives.at(-1);
  }

  get coordinator(): Coordinator | undefined {
    return this.life?.coordinator;
  }

  mend(): void {
    const { faults } = this.parts.disk;
    this.loss = this.skew.ms = faults.full = faults.broken = 0;
    this.life?.clock.goOn();
    if (this.life === undefined) this.start();
  }

  takes(): boolean {
    return this.life !== undefined;
  }

  async isKnown(): Promise<void> {}

  describe(): string[] {
    const { life } = this;
    return [`coordinator: ${this.coordinator ? "leads" : "does not lead"}${life?.clock.running === true ? "" : ", does not run"}`];
  }

  start(): void {
    const { time, chance, net, envelopes } = this.parts;
    const clock = new PartyClock(time, chance.fork(), this.skew);
    const keyring = new Keyring();
    const bus = net.connect(
      HEAD,
      clock,
      envelopes(COORDINATOR, (party) => keyring.keyOf(party)),
      new Rations(clock),
    );
    const life: Life = { clock, keyring, link: new LooseBus(bus), listeners: new Set() };
    this.lives.push(life);
    this.parts.onBus(true);
    void this.open(life);
  }

  /** Those that are stopped or fenced end too. */
  crash(): void {
    for (const life of this.lives) this.end(life);
    this.lives = [];
    this.parts.net.drop();
    this.parts.onBus(false);
  }

  crashAndRestart(): void {
    this.crash();
    void this.parts.time.passes(this.parts.chance.between(...RESTART_MS)).then(() => this.life ?? this.start());
  }

  /** In good order, and back soon. */
  async restart(): Promise<void> {
    const { life } = this;
    if (life?.coordinator === undefined || !life.clock.running) return;
    await life.coordinator.stop();
    await life.clock.passes(FLUSH_MS);
    if (this.life === life) this.crashAndRestart();
  }

  disconnected(node: NodeId): void {
    for (const { clock, listeners } of this.lives) clock.after(DISCONNECT_MS, () => listeners.forEach((listener) => listener(node)));
  }

  ask<T>(request: Request<T>, { timeoutMs = REQUEST_MS }: AskOptions = {}): Promise<Answer<T>> {
    const { time, chance } = this.parts;
    const { promise, resolve } = Promise.withResolvers<Answer<T>>();
    const { life } = this;
    if (life?.coordinator === undefined) {
      resolve({ kind: "refused", code: "coordinator_unreachable" });
      return promise;
    }
    const timer = time.after(timeoutMs, () => resolve({ kind: "unknown" }));
    const answer = (its: Answer<T>): void => {
      if (chance.is(this.loss)) return;
      timer.cancel();
      resolve(its);
    };
    const { coordinator } = life;
    if (!chance.is(this.loss)) life.clock.soon(() => void serve(request, coordinator).then(answer));
    return promise;
  }

  private async authorize(clock: PartyClock, nodes: Parameters<NonNullable<HeadParts["onAuthorize"]>>[0]): Promise<void> {
    await clock.passes(1);
    this.parts.onAuthorize?.(nodes);
  }

  private async open(life: Life): Promise<void> {
    const { chance, disk } = this.parts;
    const { clock, keyring, link, listeners } = life;
    const onDisconnect = (listener: (node: NodeId) => void): Subscription => {
      listeners.add(listener);
      return { stop: () => listeners.delete(listener) };
    };
    life.coordinator = await openCoordinator({
      name: "simulated",
      version: "0.0.0",
      self: NodeId.parse("lead"),
      store: disk.open(clock),
      bus: link,
      busServer: { version: "0", authorize: (nodes) => this.authorize(clock, nodes), onDisconnect, isConnected: this.parts.isConnected },
      keyring,
      coordinatorKey: COORDINATOR_KEY,
      sign: signAsCoordinator,
      authority: AUTHORITY,
      busUrls: () => ["ram:"],
      apiUrls: () => ["http://127.0.0.1:8888"],
      controlUrls: () => ["http://127.0.0.1:8888"],
      strategy: "balanced",
      retentionMs: 86_400_000,
      clock,
      random: chance.fork().next,
      log: silentLog,
      broken: (error) => this.broken(life, error),
    });
  }

  /** The process ends, as compose has it. Only a disk that failed, or another coordinator, may have been the cause. */
  private broken(life: Life, error: unknown): void {
    if (!(error instanceof StoreBroken) && !(error instanceof StoreFenced))
      this.parts.checker.fault("I0", `the coordinator fell over: ${String(error)}`);
    const isLast = this.life === life;
    this.end(life);
    this.lives = this.lives.filter((one) => one !== life);
    if (isLast) this.crashAndRestart();
  }

  private end(life: Life): void {
    life.clock.kill();
    void life.link.close();
  }
}
