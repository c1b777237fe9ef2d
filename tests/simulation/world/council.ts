/**
 * Several control nodes over one etcd, as their people and machines find them: any of them is asked, and one that stands by answers
 * what it can read or sends the rest on (api/relay.ts). Each has a bus server: either they are one bus, or nodes go where the leader is.
 *
 * Q1. A request is sent on once, and what is under way with a leader is cut when another one leads (R2, R3 of relay.ts).
 * Q2. A message passes only between a node and a coordinator that its server reaches.
 * Q3. When the trouble is over everybody knows who leads, and reads what etcd has.
 */
import type { NodeId } from "@openclaw-cluster/contract/ids";
import type { Faults, RamNet } from "../../../cluster/src/bus/ram.ts";
import type { Coordinator } from "../../../cluster/src/coordinator/coordinator.ts";
import type { Chance } from "./chance.ts";
import { UNAWARE_MS, type Checker } from "./checker.ts";
import { ControlNode, type ControlLife, type ControlNodeParts } from "./control-node.ts";
import { CALM } from "./etcd-line.ts";
import { REQUEST_MS, serve, type Answer, type AskOptions, type Front, type Request } from "./front.ts";
import type { Machine } from "./machine.ts";
import type { SharedEtcd } from "./shared-etcd.ts";
import type { VirtualTime } from "./time.ts";
import type { Weather } from "./weather.ts";

const WAY_MS = [0.1, 2] as const;
/** A machine looks so often whether its bus is there, and the leader's. */
const SEEK_MS = [300, 2_000] as const;
/** Everybody knows after that, in so many looks; TERM_S and a call that was lost before. */
const KNOWN_MS = 10_000;
const LOOKS = 20;

export interface CouncilParts extends Omit<ControlNodeParts, "name" | "onBus" | "isConnected"> {
  readonly weather: Weather;
  readonly etcd: SharedEtcd;
  readonly checker: Checker;
  readonly count: number;
  /** Their bus servers are one bus. */
  readonly isOneBus: boolean;
  machines(): readonly Machine[];
}

export class Council implements Front {
  readonly isMany = true;
  loss = 0;
  readonly nodes: readonly ControlNode[];
  readonly parts: CouncilParts;
  /** Control nodes and machines that reach each other, and nobody else. */
  readonly island = new Set<string>();
  private readonly time: VirtualTime;
  private readonly chance: Chance;
  private readonly net: RamNet;
  /** To whose bus server each machine is connected. */
  private readonly attached = new Map<string, ControlNode>();

  constructor(parts: CouncilParts) {
    this.parts = parts;
    ({ time: this.time, chance: this.chance, net: this.net } = parts);
    this.nodes = Array.from({ length: parts.count }, (_, index): ControlNode => {
      const node: ControlNode = new ControlNode({
        ...parts,
        name: `control${index + 1}`,
        chance: this.chance.fork(),
        onBus: (up) => up || this.busFell(node),
        isConnected: (id) => this.isConnected(node, id),
      });
      return node;
    });
  }

  get leader(): ControlNode | undefined {
    return this.nodes.find(({ leads, life }) => leads && life?.clock.running === true);
  }

  get coordinator(): Coordinator | undefined {
    return this.leader?.life?.role?.coordinator;
  }

  start(): void {
    for (const node of this.nodes) node.start();
    for (const machine of this.parts.machines()) void this.seek(machine);
  }

  crash(): void {
    for (const node of this.nodes) node.crash();
  }

  mend(): void {
    this.loss = 0;
    this.island.clear();
    this.parts.etcd.onTaken = undefined;
    this.parts.etcd.etcd.findQuorum();
    for (const node of this.nodes) {
      Object.assign(node.line, CALM);
      node.skew.ms = 0;
      this.parts.weather.mend(node.name);
      node.life?.clock.goOn();
      node.start();
    }
  }

  ask<T>(request: Request<T>, { timeoutMs = REQUEST_MS, reads = false }: AskOptions = {}): Promise<Answer<T>> {
    const { time, chance } = this;
    const { promise, resolve } = Promise.withResolvers<Answer<T>>();
    const node = chance.pick(this.nodes as [ControlNode, ...ControlNode[]]);
    const { life } = node;
    if (life?.role === undefined) return Promise.resolve({ kind: "refused", code: "coordinator_unreachable" });
    const timer = time.after(timeoutMs, () => resolve({ kind: "unknown" }));
    const answer = (its: Answer<T>): void => {
      if (chance.is(this.loss)) return;
      timer.cancel();
      resolve(its);
    };
    if (!chance.is(this.loss)) life.clock.soon(() => void this.answer(life, request, reads).then(answer));
    return promise;
  }

  disconnected(id: NodeId): void {
    for (const node of this.nodes) {
      if (this.parts.isOneBus || this.attached.get(id) === node)
        node.life?.clock.after(20, () => node.life?.listeners.forEach((listener) => listener(id)));
    }
  }

  takes(id: NodeId): boolean {
    const server = this.serverFor(id);
    if (server === undefined) return false;
    this.attached.set(id, server);
    return true;
  }

  /** Q2, on top of the weather. */
  readonly faults: Faults = (passage) => {
    const { weather, isOneBus } = this.parts;
    const { from, to } = passage;
    const machine = from.startsWith("control") ? to : from;
    const control = machine === to ? from : to;
    const server = this.attached.get(machine);
    if (server?.life === undefined || (!isOneBus && server.name !== control) || weather.isCut(server.name)) return [];
    if (this.areApart(server.name, machine) || this.areApart(server.name, control)) return [];
    return weather.faults(passage);
  };

  /** Q3. News is on its way for a moment after the last trouble. */
  async isKnown(): Promise<void> {
    let wrong = await this.misconceptions();
    for (let looks = 0; wrong.length > 0 && looks < LOOKS; looks++) {
      await this.time.passes(KNOWN_MS / LOOKS);
      wrong = await this.misconceptions();
    }
    for (const text of wrong) this.parts.checker.fault("L4", text);
  }

  private async misconceptions(): Promise<string[]> {
    const counts = (tasks: Readonly<Record<string, number>>): string =>
      JSON.stringify(Object.entries(tasks).sort(([a], [b]) => a.localeCompare(b)));
    const leader = this.leader?.name;
    const wrong: string[] = [];
    for (const { name, life } of this.nodes) {
      const { leadership, reader } = life?.opened ?? {};
      if (leadership === undefined || reader === undefined) continue;
      if (leadership.leader?.node !== leader) wrong.push(`${name} thinks that ${leadership.leader?.node} leads, and ${leader} does`);
      // One that ends meanwhile never says.
      const silence = this.time.passes(KNOWN_MS).then(() => Infinity);
      if ((await Promise.race([reader.staleMs(), silence])) > 0) wrong.push(`${name} does not hear of what is written`);
      const truth = counts((await (await this.parts.etcd.truth).load()).counts);
      const seen = counts(reader.present().counts);
      if (seen !== truth) wrong.push(`${name} sees ${seen}, and etcd has ${truth}`);
    }
    return wrong;
  }

  describe(): string[] {
    return this.nodes.map(({ name, life, leads, line }) => {
      const state = life === undefined ? "dead" : life.clock.running ? "runs" : "stands still";
      return `${name}: ${state}, ${leads ? "leads" : "stands by"}${line.cut ? ", cut from etcd" : ""}; it thinks that ${life?.opened?.leadership.leader?.node} leads`;
    });
  }

  private async answer<T>(life: ControlLife, request: Request<T>, reads: boolean): Promise<Answer<T>> {
    const { role, opened, clock } = life;
    if (role === undefined || opened === undefined) return { kind: "refused", code: "unavailable" };
    if (role.relaying === undefined) return this.serveAsLeader(life, request);
    if (reads) {
      const { staleMs } = await role.relaying.freshness();
      const answer = await serve(request, role.coordinator);
      return answer.kind === "answered" ? { ...answer, old: staleMs > 0 || this.mayBeOld(clock) } : answer;
    }
    return this.relay(opened, request, clock);
  }

  private relay<T>(
    { whereabouts }: NonNullable<ControlLife["opened"]>,
    request: Request<T>,
    own: ControlLife["clock"],
  ): Promise<Answer<T>> {
    const { time, chance } = this;
    const there = whereabouts.present;
    const target = this.nodes.find(({ name }) => there?.url === `http://${name}`)?.life;
    if (there === undefined || target === undefined) return Promise.resolve({ kind: "refused", code: "unavailable" });
    const { promise, resolve } = Promise.withResolvers<Answer<T>>();
    there.signal.addEventListener("abort", () => resolve({ kind: "unknown" }), { once: true });
    const back = (answer: Answer<T>): void => void time.after(chance.between(...WAY_MS), () => own.soon(() => resolve(answer)));
    time.after(chance.between(...WAY_MS), () =>
      target.clock.soon(() => {
        if (target.role?.relaying !== undefined) back({ kind: "refused", code: "unavailable" });
        else void this.serveAsLeader(target, request).then(back);
      }),
    );
    return promise;
  }

  private async serveAsLeader<T>({ role, clock }: ControlLife, request: Request<T>): Promise<Answer<T>> {
    if (role === undefined) return { kind: "refused", code: "unavailable" };
    const answer = await serve(request, role.coordinator);
    return answer.kind === "answered" ? { ...answer, old: this.mayBeOld(clock) } : answer;
  }

  private mayBeOld({ wokeAt }: ControlLife["clock"]): boolean {
    return wokeAt > 0 && this.time.now - wokeAt < UNAWARE_MS;
  }

  private isConnected(node: ControlNode, id: NodeId): boolean {
    const machine = this.parts.machines().find((one) => one.id === id);
    return machine?.life?.link.connected === true && (this.parts.isOneBus || this.attached.get(id) === node);
  }

  private areApart(one: string, other: string): boolean {
    return this.island.has(one) !== this.island.has(other);
  }

  /** Where a node would connect now. */
  private serverFor(machine: string): ControlNode | undefined {
    const { weather, isOneBus } = this.parts;
    const up = this.nodes.filter(({ name, life }) => life !== undefined && !weather.isCut(name) && !this.areApart(name, machine));
    if (!isOneBus) return up.find(({ leads }) => leads);
    return up.length === 0 ? undefined : this.chance.pick(up as [ControlNode, ...ControlNode[]]);
  }

  private busFell(node: ControlNode): void {
    if (!this.parts.isOneBus) this.net.drop();
    for (const machine of this.parts.machines()) if (this.attached.get(machine.id) === node) machine.life?.link.set(false);
  }

  /** What session-watch.ts and NATS' own list of servers do for a node: away from a server that is gone or does not lead. */
  private async seek(machine: Machine): Promise<void> {
    const { weather, isOneBus } = this.parts;
    for (;;) {
      await this.time.passes(this.chance.between(...SEEK_MS));
      const { life } = machine;
      if (life === undefined || !life.clock.running || weather.isCut(machine.id)) continue;
      const server = this.attached.get(machine.id);
      const isThere = server?.life !== undefined && !weather.isCut(server.name) && !this.areApart(server.name, machine.id);
      const isGood = isThere && (isOneBus || server === this.serverFor(machine.id));
      if (isGood && life.link.connected) continue;
      if (life.link.connected) life.link.set(false);
      if (this.takes(machine.id)) life.link.set(true);
    }
  }
}
