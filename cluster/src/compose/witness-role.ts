/**
 * A witness: a third vote on any small machine, so that of two machines that can lead one goes on when the other dies. It runs an
 * etcd member and a nats-server, and neither leads, answers requests nor works.
 */
import { ClusterError } from "@openclaw-cluster/contract/errors";
import { openEtcdControlNodes } from "../store/etcd-control-nodes.ts";
import { openEtcdControlSeats } from "../store/etcd-control-seats.ts";
import { openEtcdReader } from "../store/etcd-reader.ts";
import { readTextFile } from "../system/folders.ts";
import { openBusCluster } from "./bus-cluster-open.ts";
import { CLUSTER_FROM } from "./bus-way.ts";
import { VERSION, type Ground } from "./ground.ts";
import { findListeningPlace } from "./listening-place.ts";
import { MemberGate } from "./member-gate.ts";
import { renewCertificates } from "./server-certificates.ts";
import { openSharedEtcd } from "./shared-etcd.ts";
import { openCertificates, openNatsServer, urlsAt } from "./stand.ts";

export async function openWitnessRole(ground: Ground, open: (() => Promise<void>)[]): Promise<void> {
  const { config, clock, log } = ground;
  await checkWasPromoted(ground);
  const place = await findListeningPlace({ ...ground, host: config.api.host });
  const shown = await openCertificates(ground, place);
  const etcd = await openSharedEtcd(ground, { place, shown });
  open.push(() => etcd.close());
  const shared = { client: etcd.client, prefix: config.store.prefix, clock, log };
  const reader = await openEtcdReader(shared);
  open.push(() => reader.close());
  const seats = openEtcdControlSeats(shared);
  open.push(() => seats.close());
  const cluster = await openBusCluster(ground, { place, shown, etcd, seats, witness: true });
  const server = await openNatsServer(ground, place, shown, cluster.membership());
  open.push(() => server.stop());
  if (shown.certificate !== undefined) {
    const renewal = renewCertificates(shown, shown.certificate, [(next) => server.renew(next)]);
    open.push(() => renewal.close());
  }
  const busUrls = urlsAt(place, server.url);
  const controlNodes = openEtcdControlNodes({
    ...shared,
    self: () => ({ node: config.nodeId, version: VERSION, apiUrls: [], busUrls, witness: true }),
  });
  open.push(() => controlNodes.close());
  open.push(() => cluster.close());
  await cluster.follow(server);
  const clustered = (): boolean => seats.all.length >= CLUSTER_FROM;
  const gate = new MemberGate({ reader, server, coordinatorKey: shown.keys.publicKey, seats, clustered, clock, log });
  open.push(async () => gate.close());
}

/** It would begin a cluster of its own otherwise, of which nobody is a part. */
async function checkWasPromoted({ config, folders }: Ground): Promise<void> {
  if (config.store.kind === "etcd" && (await readTextFile(folders.coordinatorSeed)) !== undefined) return;
  throw new ClusterError(
    "config_invalid",
    `roles: ${config.nodeId} is no witness yet. Let it join as a worker (openclaw-cluster join <code>), start it, and then, on a control node: openclaw-cluster promote ${config.nodeId} --witness`,
  );
}
