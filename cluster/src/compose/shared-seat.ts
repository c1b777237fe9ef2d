/** Leads, or stands by ready to, over a store that several control nodes share. */
import type { Role } from "../api/api.ts";
import type { StoreMover } from "../coordinator/lead-parts.ts";
import { openEtcdControlNodes } from "../store/etcd-control-nodes.ts";
import { openEtcdControlSeats } from "../store/etcd-control-seats.ts";
import { openEtcdLeadership } from "../store/etcd-leadership.ts";
import { openEtcdReader } from "../store/etcd-reader.ts";
import { openEtcdStore } from "../store/etcd.ts";
import { MovableStore } from "../store/movable-store.ts";
import { finishMoveIntoEtcd } from "../store/unfinished-move.ts";
import { openBusCluster } from "./bus-cluster-open.ts";
import { BusWay, ownFirst } from "./bus-way.ts";
import { openControlKeeper } from "./control-keeper.ts";
import type { ControlStand } from "./control-stand.ts";
import { openControlView, type ControlViews } from "./control-view.ts";
import { VERSION, type Ground } from "./ground.ts";
import { takeLead } from "./leading.ts";
import { MemberGate } from "./member-gate.ts";
import { OwnPlace } from "./own-place.ts";
import type { Seat } from "./seat.ts";
import type { SharedEtcd } from "./shared-etcd.ts";
import { SharedLead, type Elected, type Led } from "./shared-lead.ts";
import { standbyRole } from "./standby-role.ts";

type Open = (() => Promise<void>)[];

export interface SharedParts {
  readonly ground: Ground;
  readonly stand: ControlStand;
  readonly mover: StoreMover;
  readonly etcd: SharedEtcd;
}

export async function openSharedSeat(parts: SharedParts): Promise<Seat> {
  const open: Open = [() => parts.etcd.close()];
  try {
    return await openOver(parts, open);
  } catch (error) {
    await parts.stand.hide();
    await closeAll(open);
    throw error;
  }
}

async function openOver({ ground, stand, mover, etcd }: SharedParts, open: Open): Promise<Seat> {
  const { config, folders, clock, log } = ground;
  const { nodeId: node } = config;
  const { shown, backups, apiUrls } = stand;
  const { publicKey: coordinatorKey } = shown.keys;
  const shared = { client: etcd.client, prefix: config.store.prefix, clock, log };
  await finishMoveIntoEtcd({ ...shared, path: folders.database, by: node });
  const reader = await openEtcdReader(shared);
  open.push(() => reader.close());
  const leadership = openEtcdLeadership(shared);
  open.push(() => leadership.close());
  const seats = openEtcdControlSeats(shared);
  open.push(() => seats.close());
  const cluster = await openBusCluster(ground, { place: stand.place, shown, etcd, seats });
  const server = await stand.serve(cluster.membership());

  let controlView: ControlViews | undefined;
  const standby = standbyRole(ground, { shown, reader, leadership, controlView: () => controlView, migration: () => mover.migration() });
  /** At the end of a term it is this again before all is closed, which without a quorum takes long. */
  let answering: Role = standby;
  await stand.show(standby);
  const self = () => ({ node, publicKey: ground.keys.publicKey, version: VERSION, apiUrls, busUrls: stand.busUrls });
  const controlNodes = openEtcdControlNodes({ ...shared, self });
  open.push(() => controlNodes.close());
  const way = new BusWay({ node, own: stand.busUrls, seats, controlNodes, leadership });
  open.push(() => cluster.close());
  await cluster.follow(server);
  const seated = (): string[] => seats.all.map((seat) => seat.node);
  const about = { node, version: VERSION, endpoints: config.store.endpoints, apiUrls: () => apiUrls, leads: () => answering !== standby };
  const seen = (controlView = openControlView({ ...shared, ...about, reader, leadership, controlNodes, server, seated }));
  open.push(() => seen.close());
  const gate = new MemberGate({ reader, server, coordinatorKey, seats, clustered: () => way.clustered, clock, log });
  open.push(async () => gate.close());
  const admission = new OwnPlace({ node, reader, coordinatorKey, log, told: () => gate.told(), way });
  const bus = {
    urls: () => (way.clustered ? way.told() : [server.url]),
    copies: () => way.copies(),
    onChange: (listener: (urls: readonly string[]) => void) => way.onChange(bus.urls, listener),
  };
  const forget = (name: string): Promise<void> => seen.forget(name);
  const control = openControlKeeper({ ground, etcd, seats, controlNodes, server, forget, handOver: () => lead.handOver() });
  const apisOf = (): (readonly string[])[] => controlNodes.all.map((one) => one.apiUrls);
  const told = { apiUrls: () => apiUrls, controlUrls: () => ownFirst(apiUrls, apisOf()), busUrls: () => way.told() };
  let led: Seat["led"];
  /** It leads no more because its store is moved: that stays open. */
  let isLeaving = false;

  const begin = async ({ term, store }: Elected<MovableStore>, broken: (error: unknown) => void): Promise<Led> => {
    const { claim } = term;
    const opened: Open = [async () => (isLeaving ? undefined : store.close())];
    let leads = true;
    const end = async (still: boolean): Promise<void> => {
      leads = still;
      admission.left();
      await closeAll(opened);
      if (!isLeaving) led = undefined;
      gate.resume();
    };
    gate.rest();
    try {
      const over = { store, claim, server, shown, backups, broken, controlView: seen, storeMover: mover, leads: () => leads };
      const coordinator = await takeLead(ground, { ...over, ...told, bus, control }, opened);
      admission.leads(coordinator, controlNodes);
      led = { store, claim };
      return { role: { coordinator }, end };
    } catch (error) {
      await end(false);
      throw error;
    }
  };
  const campaign = async (signal: AbortSignal): Promise<Elected<MovableStore>> => {
    const store = await openEtcdStore(shared);
    const term = await leadership.campaign({ node, urls: apiUrls }, store, signal);
    return { store: new MovableStore(store), term };
  };
  const takeRole = (role: Role): void => stand.takeRole((answering = role));
  const begun = (): SharedLead<MovableStore> => new SharedLead({ clock, log, campaign, begin, takeRole, standby });
  let lead = begun();
  const seat: Seat = {
    enrolOwn: (publicKey) => admission.enrol(publicKey),
    onBusUrls: (listener) => way.onChange(() => way.forOwnNode(), listener),
    get led() {
      return led;
    },
    refusalToLeave() {
      const others = seated().filter((name) => name !== node);
      return others.length === 0 ? undefined : `${others.join(" and ")} share this store: demote them first`;
    },
    async leave() {
      isLeaving = true;
      await lead.close();
    },
    async again() {
      isLeaving = false;
      await led?.store.close();
      led = undefined;
      lead = begun();
      return seat;
    },
    async letGo() {
      await closeAll(open);
      await led?.store.close();
    },
    async close() {
      await lead.close();
      await stand.hide();
      await closeAll(open);
    },
  };
  return seat;
}

async function closeAll(open: Open): Promise<void> {
  for (let close = open.pop(); close !== undefined; close = open.pop()) await close();
}
