/**
 * One of several control nodes: the product's SharedLead, leadership, store, reader and standby, one life after another, and real
 * coordinators, one term after another. Only what compose/control-role.ts puts around them is played here: the bus server, the
 * API's front and its relay.
 *
 * C1. All of it moves by the life's clock, its calls to etcd by the life's line. kill -9 and SIGSTOP meet whatever is under way.
 * C2. What it believes is what it would answer as: a leader from SharedLead's taking that role until it gives it back.
 */
import { ClusterError } from "@openclaw-cluster/contract/errors";
import { NodeId } from "@openclaw-cluster/contract/ids";
import type { Role } from "../../../cluster/src/api/api.ts";
import type { Subscription } from "../../../cluster/src/bus/bus.ts";
import type { RamNet } from "../../../cluster/src/bus/ram.ts";
import { Rations } from "../../../cluster/src/bus/rations.ts";
import { COORDINATOR, controlTo } from "../../../cluster/src/bus/subjects.ts";
import { SharedLead, type Elected, type Led } from "../../../cluster/src/compose/shared-lead.ts";
import { leaseHolders, onLeases } from "../../../cluster/src/compose/standby-voice.ts";
import { Whereabouts } from "../../../cluster/src/compose/whereabouts.ts";
import { openCoordinator } from "../../../cluster/src/coordinator/open.ts";
import { StandbyWordKeeper, type Voice } from "../../../cluster/src/coordinator/standby-word.ts";
import type { StandbyWords } from "../../../cluster/src/coordinator/standby-words.ts";
import { openStandby } from "../../../cluster/src/coordinator/standby.ts";
import { EtcdFault, type EtcdClient } from "../../../cluster/src/store/etcd-client.ts";
import { openEtcdLeadership } from "../../../cluster/src/store/etcd-leadership.ts";
import { openEtcdReader, type EtcdReader } from "../../../cluster/src/store/etcd-reader.ts";
import { openEtcdStandbyWords } from "../../../cluster/src/store/etcd-standby-words.ts";
import { openEtcdStore, type EtcdStore } from "../../../cluster/src/store/etcd.ts";
import type { Leadership } from "../../../cluster/src/store/leadership.ts";
import { StoreBroken, StoreFenced } from "../../../cluster/src/store/store.ts";
import { silentLog, type Log } from "../../../cluster/src/system/log.ts";
import { Keyring } from "../../../cluster/src/trust/keyring.ts";
import { AUTHORITY } from "../../support/authority.ts";
import { COORDINATOR_KEY, signAsCoordinator, type OpenEnvelopes } from "../../support/fake-keys.ts";
import { LooseBus } from "../../support/loose-bus.ts";
import type { Chance } from "./chance.ts";
import type { Checker } from "./checker.ts";
import { CALM, type LineFaults } from "./etcd-line.ts";
import { PartyClock } from "./party-clock.ts";
import type { SharedEtcd } from "./shared-etcd.ts";
import type { VirtualTime } from "./time.ts";

/** A service manager starts what has ended. */
const RESTART_MS = [500, 6_000] as const;
const CONNECT_MS = 5;
/** What was said last is sent before the connection closes (bus/nats-connection.ts). */
const FLUSH_MS = 5;

interface Opened {
  readonly reader: EtcdReader;
  readonly leadership: Leadership<EtcdStore>;
  readonly whereabouts: Whereabouts;
  readonly lead: SharedLead<EtcdStore>;
  readonly words: StandbyWords;
  readonly word: StandbyWordKeeper;
}

export interface ControlLife {
  readonly clock: PartyClock;
  /** Of its coordinator's connection, while it has one. */
  link?: LooseBus;
  /** Of a lead that it has lost. */
  lastWord?: AbortController;
  /** Of its words while it stands by. */
  voice?: LooseBus;
  readonly listeners: Set<(node: NodeId) => void>;
  role?: Role;
  opened?: Opened;
  isLeaving: boolean;
}

export interface ControlNodeParts {
  readonly name: string;
  readonly time: VirtualTime;
  readonly chance: Chance;
  readonly net: RamNet;
  readonly envelopes: OpenEnvelopes;
  readonly etcd: SharedEtcd;
  readonly checker: Checker;
  /** Its bus server came up or went down with it. */
  onBus(up: boolean): void;
  isConnected(node: NodeId): boolean;
}

export class ControlNode {
  readonly skew = { ms: 0 };
  readonly line: LineFaults = { ...CALM };
  life: ControlLife | undefined;
  private readonly parts: ControlNodeParts;

  constructor(parts: ControlNodeParts) {
    this.parts = parts;
  }

  get name(): string {
    return this.parts.name;
  }

  /** It believes so. */
  get leads(): boolean {
    const { role } = this.life ?? {};
    return role !== undefined && role.relaying === undefined;
  }

  start(): void {
    if (this.life !== undefined) return;
    const { time, chance } = this.parts;
    const life: ControlLife = { clock: new PartyClock(time, chance.fork(), this.skew), listeners: new Set(), isLeaving: false };
    this.life = life;
    this.parts.onBus(true);
    this.open(life).catch((error: unknown) => this.failed(life, error));
  }

  /** kill -9, or the plug. */
  crash(): void {
    const { life } = this;
    if (life === undefined) return;
    life.clock.kill();
    this.parts.checker.leads(life.clock, false);
    this.life = undefined;
    void life.link?.close();
    void life.voice?.close();
    this.parts.onBus(false);
  }

  crashAndRestart(afterMs = this.parts.chance.between(...RESTART_MS)): void {
    this.crash();
    void this.parts.time.passes(afterMs).then(() => this.start());
  }

  /** In good order, as `compose` closes it; another one leads meanwhile. */
  async restart(): Promise<void> {
    const { life } = this;
    if (life?.opened === undefined || life.isLeaving || !life.clock.running) return;
    life.isLeaving = true;
    await life.opened.lead.close();
    await life.opened.word.close();
    await life.clock.passes(FLUSH_MS);
    if (this.life === life) this.crashAndRestart();
  }

  private async open(life: ControlLife): Promise<void> {
    const { name, etcd } = this.parts;
    const { clock } = life;
    const self = NodeId.parse(name);
    const shared = { client: this.client(life), prefix: etcd.prefix, clock, log: this.log() };
    const reader = await openEtcdReader(shared);
    const leadership = openEtcdLeadership(shared);
    const whereabouts = new Whereabouts(leadership, name);
    const standby: Role = {
      coordinator: openStandby({
        ...{ name: "simulated", version: "0.0.0", self, coordinatorKey: COORDINATOR_KEY, store: reader, clock },
        controlView: () => undefined,
        leader: () => leadership.leader?.node,
      }),
      relaying: { leader: () => whereabouts.present, freshness: async () => ({ staleMs: await reader.staleMs() }) },
    };
    const takeRole = (role: Role): void => {
      life.role = role;
      this.parts.checker.leads(clock, role.relaying === undefined && clock.alive);
    };
    takeRole(standby);
    const lead = new SharedLead<EtcdStore>({
      ...{ clock, log: this.log(), standby, takeRole },
      campaign: async (signal) => {
        // Each try has a store of its own, and each store a name by which its commits are known.
        const store = await openEtcdStore({ ...shared, client: this.client(life) });
        return { store, term: await leadership.campaign({ node: name, urls: [`http://${name}`], heedsWords: true }, store, signal) };
      },
      begin: (elected, broken) => this.begin(life, elected, broken),
    });
    const words = openEtcdStandbyWords(shared);
    const word = new StandbyWordKeeper({
      ...{ self, boot: `${clock.monotonic()}`, words, clock, log: this.log() },
      holders: () => leaseHolders(reader),
      onLeases: (listener) => onLeases(reader, listener),
      standsBy: () => life.role === standby,
      openVoice: () => this.openVoice(life, reader),
    });
    life.opened = { reader, leadership, whereabouts, lead, words, word };
  }

  /** As compose/standby-voice.ts does it. */
  private async openVoice(life: ControlLife, reader: EtcdReader): Promise<Voice> {
    const { name, net, envelopes } = this.parts;
    const { clock } = life;
    await clock.passes(CONNECT_MS);
    const keyring = new Keyring();
    keyring.set(reader.present().nodes);
    const voice = (life.voice = new LooseBus(
      net.connect(
        name,
        clock,
        envelopes(COORDINATOR, (party) => keyring.keyOf(party)),
      ),
    ));
    return {
      say: (node, epoch, ms) => voice.publish(controlTo(node), { kind: "pause", epoch, ms }),
      close: () => voice.close(),
    };
  }

  /** As compose/control-role.ts and compose/leading.ts do it. */
  private async begin(life: ControlLife, { term, store }: Elected<EtcdStore>, broken: (error: unknown) => void): Promise<Led> {
    const { name, net, envelopes, chance } = this.parts;
    const { clock, listeners } = life;
    life.lastWord?.abort();
    await clock.passes(CONNECT_MS);
    const keyring = new Keyring();
    const link = new LooseBus(
      net.connect(
        name,
        clock,
        envelopes(COORDINATOR, (party) => keyring.keyOf(party)),
        new Rations(clock),
      ),
    );
    life.link = link;
    const close = async (): Promise<void> => {
      await clock.passes(FLUSH_MS);
      await link.close();
      await store.close();
    };
    const onDisconnect = (listener: (node: NodeId) => void): Subscription => {
      listeners.add(listener);
      return { stop: () => listeners.delete(listener) };
    };
    const authorize = (): Promise<void> => clock.passes(1);
    const urls = { busUrls: () => ["ram:"], apiUrls: () => [`http://${name}`], controlUrls: () => [`http://${name}`] };
    try {
      const coordinator = await openCoordinator({
        ...{ name: "simulated", version: "0.0.0", self: NodeId.parse(name), store, claim: term.claim, bus: link, keyring, clock, ...urls },
        busServer: { version: "0", authorize, onDisconnect, isConnected: this.parts.isConnected },
        ...{ coordinatorKey: COORDINATOR_KEY, sign: signAsCoordinator, authority: AUTHORITY },
        former: term.former === undefined ? {} : { node: term.former.node },
        ...(life.opened !== undefined && { words: life.opened.words }),
        ...{ strategy: "balanced", retentionMs: 86_400_000, random: chance.fork().next, log: silentLog },
        broken: (error) => {
          this.mind(error, "the coordinator fell over");
          broken(error);
        },
      });
      const end = async (leads: boolean): Promise<void> => {
        if (!leads) store.giveUp();
        await (leads ? coordinator.stop() : coordinator.abandon());
        if (leads) return close();
        life.lastWord = new AbortController();
        void coordinator.lastWord(term.sureUntil(), life.lastWord.signal).then(close);
      };
      return { role: { coordinator }, end };
    } catch (error) {
      await close();
      throw error;
    }
  }

  private client({ clock }: ControlLife): EtcdClient {
    return this.parts.etcd.connect(clock, this.line);
  }

  /** The daemon could not start: the service manager tries it again. */
  private failed(life: ControlLife, error: unknown): void {
    this.mind(error, "the control node could not start");
    if (this.life === life) this.crashAndRestart();
  }

  /** Only etcd, or another coordinator, may have been the cause. */
  private mind(error: unknown, what: string): void {
    const isExpected = [StoreBroken, StoreFenced, EtcdFault, ClusterError].some((kind) => error instanceof kind);
    if (!isExpected) this.parts.checker.fault("I0", `${what}: ${String(error)}`);
  }

  private log(): Log {
    const error = ({ err }: { readonly err?: unknown }): void => this.mind(err, "something was not expected");
    return { ...silentLog, debug: () => undefined, info: () => undefined, warn: () => undefined, error } as unknown as Log;
  }
}
