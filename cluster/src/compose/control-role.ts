/** Opens what a control node needs that shares its store with others: the way to etcd, nats-server, the API, and the tries to lead. */
import type { Role } from "../api/api.ts";
import { openStandby } from "../coordinator/standby.ts";
import { openEtcdControlNodes } from "../store/etcd-control-nodes.ts";
import { openEtcdControlSeats } from "../store/etcd-control-seats.ts";
import { openEtcdLeadership } from "../store/etcd-leadership.ts";
import { openEtcdReader, type EtcdReader } from "../store/etcd-reader.ts";
import { openEtcdStore } from "../store/etcd.ts";
import type { Leadership } from "../store/leadership.ts";
import { openBusCluster } from "./bus-cluster-open.ts";
import { BusWay, ownFirst } from "./bus-way.ts";
import { openControlKeeper } from "./control-keeper.ts";
import { openControlView, type ControlViews } from "./control-view.ts";
import { VERSION, type Ground } from "./ground.ts";
import { copyIdentity } from "./identity.ts";
import { apiUrlsAt, showApi, type LeadRole } from "./lead-role.ts";
import { takeLead } from "./leading.ts";
import { findListeningPlace } from "./listening-place.ts";
import { MemberGate } from "./member-gate.ts";
import { OwnPlace } from "./own-place.ts";
import { backupFolder } from "./restore.ts";
import { openSharedEtcd } from "./shared-etcd.ts";
import { SharedLead, type Elected, type Led } from "./shared-lead.ts";
import { openCertificates, openNatsServer, urlsAt, type Shown } from "./stand.ts";
import { Whereabouts } from "./whereabouts.ts";

type Open = (() => Promise<void>)[];

export async function openControlRole(ground: Ground, open: Open): Promise<LeadRole> {
  const { config, folders, clock, log } = ground;
  const place = await findListeningPlace({ ...ground, host: config.api.host });
  const shown = await openCertificates(ground, place);
  const backups = backupFolder(config, folders);
  await copyIdentity(folders, backups);
  const etcd = await openSharedEtcd(ground, { place, shown }, open);
  const shared = { client: etcd.client, prefix: config.store.prefix, clock, log };
  const reader = await openEtcdReader(shared);
  open.push(() => reader.close());
  const leadership = openEtcdLeadership(shared);
  open.push(() => leadership.close());
  const seats = openEtcdControlSeats(shared);
  open.push(() => seats.close());
  const cluster = await openBusCluster(ground, { place, shown, etcd, seats });
  const server = await openNatsServer(ground, place, shown, cluster.membership());
  open.push(() => server.stop());

  const apiUrls: string[] = [];
  let controlView: ControlViews | undefined;
  const standby = standbyRole(ground, { shown, reader, leadership, controlView: () => controlView });
  const api = await showApi(ground, { place, shown, server, role: standby }, open);
  apiUrls.push(...apiUrlsAt(place, api));
  const busUrls = urlsAt(place, server.url);
  const self = () => ({ node: config.nodeId, publicKey: ground.keys.publicKey, version: VERSION, apiUrls, busUrls });
  const controlNodes = openEtcdControlNodes({ ...shared, self });
  open.push(() => controlNodes.close());
  const way = new BusWay({ node: config.nodeId, own: busUrls, seats, controlNodes, leadership });
  open.push(() => cluster.close());
  await cluster.follow(server);
  const about = { node: config.nodeId, version: VERSION, endpoints: config.store.endpoints, apiUrls: () => apiUrls };
  const seen = (controlView = openControlView({
    ...shared,
    ...about,
    reader,
    leadership,
    controlNodes,
    server,
    seated: () => seats.all.map((seat) => seat.node),
  }));
  open.push(() => seen.close());
  const gate = new MemberGate({ reader, server, coordinatorKey: shown.keys.publicKey, clock, log });
  open.push(async () => gate.close());
  const told = (): Promise<void> => gate.told();
  const admission = new OwnPlace({ node: config.nodeId, reader, coordinatorKey: shown.keys.publicKey, log, told, way });
  const urls = {
    apiUrls: () => apiUrls,
    controlUrls: () =>
      ownFirst(
        apiUrls,
        controlNodes.all.map((one) => one.apiUrls),
      ),
    busUrls: () => way.told(),
  };

  const bus = {
    urls: () => (way.clustered ? way.told() : [server.url]),
    copies: () => way.copies(),
    onChange: (listener: (urls: readonly string[]) => void) => way.onChange(bus.urls, listener),
  };
  const control = openControlKeeper({
    ground,
    etcd,
    seats,
    controlNodes,
    server,
    forget: (node) => seen.forget(node),
    handOver: () => lead.handOver(),
  });

  const begin = async ({ term, store }: Elected, broken: (error: unknown) => void): Promise<Led> => {
    const opened: Open = [() => store.close()];
    let leads = true;
    const end = async (still: boolean): Promise<void> => {
      leads = still;
      admission.left();
      for (let close = opened.pop(); close !== undefined; close = opened.pop()) await close();
      gate.resume();
    };
    gate.rest();
    try {
      const parts = { store, claim: term.claim, server, shown, backups, broken, controlView: seen, leads: () => leads };
      const coordinator = await takeLead(ground, { ...parts, ...urls, bus, control }, opened);
      admission.leads(coordinator, controlNodes);
      return { role: { coordinator }, end };
    } catch (error) {
      await end(false);
      throw error;
    }
  };
  const campaign = async (signal: AbortSignal): Promise<Elected> => {
    const store = await openEtcdStore(shared);
    return { store, term: await leadership.campaign({ node: config.nodeId, urls: apiUrls }, store, signal) };
  };
  const lead = new SharedLead({ clock, log, campaign, begin, takeRole: (role) => api.takeRole(role), standby });
  open.push(() => lead.close());
  return {
    apiUrl: api.url,
    trust: shown.trust,
    enrolOwn: (publicKey) => admission.enrol(publicKey),
    busUrlsChange: (listener) => way.onChange(() => way.forOwnNode(), listener),
  };
}

interface StandbyParts {
  readonly shown: Shown;
  readonly reader: EtcdReader;
  readonly leadership: Leadership<never>;
  controlView(): ControlViews | undefined;
}

function standbyRole({ config, clock }: Ground, { shown, reader, leadership, controlView }: StandbyParts): Role {
  const leader = (): string | undefined => leadership.leader?.node;
  const { keys, trust } = shown;
  const about = { name: config.clusterName, version: VERSION, self: config.nodeId, coordinatorKey: keys.publicKey };
  const whereabouts = new Whereabouts(leadership, config.nodeId);
  return {
    coordinator: openStandby({ ...about, store: reader, clock, leader, controlView }),
    relaying: { leader: () => whereabouts.present, freshness: async () => ({ staleMs: await reader.staleMs() }), trust },
  };
}
