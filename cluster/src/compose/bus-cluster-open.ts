/** Opens this machine's part in the cluster of nats-servers, before the server itself, which begins as the list says. */
import type { ControlSeats } from "../store/control-seats.ts";
import { choosePort } from "../system/free-port.ts";
import { pause } from "../system/pause.ts";
import { BusCluster, ROUTE_PORT } from "./bus-cluster.ts";
import type { Ground } from "./ground.ts";
import type { ListeningPlace } from "./listening-place.ts";
import type { SharedEtcd } from "./shared-etcd.ts";
import type { Shown } from "./stand.ts";

const LIST_MS_MAX = 5_000;

export interface ClusterParts {
  readonly place: ListeningPlace;
  readonly shown: Shown;
  readonly etcd: SharedEtcd;
  readonly seats: ControlSeats;
  readonly witness?: true;
}

/** Resolves when the list of control nodes was read, or after a while without. */
export async function openBusCluster(
  { config, clock, log }: Ground,
  { place, shown, etcd, seats, witness }: ClusterParts,
): Promise<BusCluster> {
  await Promise.race([seats.heard(), pause(clock, LIST_MS_MAX)]);
  const { nodeId: node } = config;
  const host = place.addresses[0] ?? place.busHost;
  const former = seats.all.find((seat) => seat.node === node)?.route.port;
  // Several on one machine, as a trial has them: the usual one may be another's, who does not listen there yet.
  const isUsual = !seats.all.some(({ node: other, route }) => other !== node && route.host === host && route.port === ROUTE_PORT);
  const port = await choosePort(host, isUsual ? undefined : 0, former, ROUTE_PORT);
  const rest = { ...(etcd.member !== undefined && { etcdMember: etcd.member }), ...(witness === true && { witness }) };
  const { authority, keys } = shown;
  return new BusCluster({ ...{ node, host, port, seats, authority, seed: keys.seed, rest, clock, log } });
}
