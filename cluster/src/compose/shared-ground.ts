/** What a seat over a shared store stands on, whether it leads or not: the store's reader, who leads, who is there, and nats-server. */
import { openEtcdControlNodes } from "../store/etcd-control-nodes.ts";
import { openEtcdControlSeats } from "../store/etcd-control-seats.ts";
import { openEtcdLeadership } from "../store/etcd-leadership.ts";
import { openEtcdReader } from "../store/etcd-reader.ts";
import { openEtcdStandbyWords } from "../store/etcd-standby-words.ts";
import { finishMoveIntoEtcd } from "../store/unfinished-move.ts";
import type { StoreMover } from "../coordinator/lead-parts.ts";
import { StandbyWordKeeper } from "../coordinator/standby-word.ts";
import { randomId } from "../system/random-id.ts";
import { openBusCluster } from "./bus-cluster-open.ts";
import { BusWay } from "./bus-way.ts";
import type { ControlStand } from "./control-stand.ts";
import { openControlView, type ControlViews } from "./control-view.ts";
import { VERSION, type Ground } from "./ground.ts";
import { MemberGate } from "./member-gate.ts";
import { OwnPlace } from "./own-place.ts";
import type { SharedEtcd } from "./shared-etcd.ts";
import { standbyRole } from "./standby-role.ts";
import { leaseHolders, onLeases, openVoice } from "./standby-voice.ts";

export type Open = (() => Promise<void>)[];

export interface SharedParts {
  readonly ground: Ground;
  readonly stand: ControlStand;
  readonly mover: StoreMover;
  readonly etcd: SharedEtcd;
}

export type SharedGround = Awaited<ReturnType<typeof openSharedGround>>;

/** Whoever asks the API is answered from here on, as by one that stands by. */
export async function openSharedGround({ ground, stand, mover, etcd }: SharedParts, open: Open) {
  const { config, folders, clock, log } = ground;
  const { nodeId: node } = config;
  const { shown, apiUrls } = stand;
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
  const asked = { controlView: () => controlView, migration: () => mover.migration() };
  const standby = standbyRole(ground, { shown, reader, leadership, ...asked });
  await stand.show(standby);
  const self = () => ({ node, publicKey: ground.keys.publicKey, version: VERSION, apiUrls, busUrls: stand.busUrls });
  const controlNodes = openEtcdControlNodes({ ...shared, self });
  open.push(() => controlNodes.close());
  const way = new BusWay({ node, own: stand.busUrls, seats, controlNodes, leadership });
  open.push(() => cluster.close());
  await cluster.follow(server);
  const seated = (): string[] => seats.all.map((seat) => seat.node);
  const about = { node, version: VERSION, endpoints: config.store.endpoints, apiUrls: () => apiUrls, leads: () => stand.role !== standby };
  const seen = (controlView = openControlView({ ...shared, ...about, reader, leadership, controlNodes, server, seated }));
  open.push(() => seen.close());
  const gate = new MemberGate({ reader, server, coordinatorKey, seats, clustered: () => way.clustered, clock, log });
  open.push(async () => gate.close());
  /** The servers over which this machine speaks for the cluster, its own first. */
  const speaking = (): readonly string[] => (way.clustered ? way.told() : [server.url]);
  const words = openEtcdStandbyWords(shared);
  const word = new StandbyWordKeeper({
    ...{ self: node, boot: randomId(), words, clock, log },
    holders: () => leaseHolders(reader),
    onLeases: (listener) => onLeases(reader, listener),
    standsBy: () => stand.role === standby,
    openVoice: () => openVoice({ shown, reader, log, urls: speaking }),
  });
  open.push(() => word.close());
  const admission = new OwnPlace({ node, reader, coordinatorKey, log, told: () => gate.told(), way });
  return { shared, server, standby, leadership, seats, controlNodes, way, speaking, seen, gate, words, admission };
}
