/**
 * The machines that had etcd's majority are lost for good, and this one goes on alone with what it has: because a person says so.
 *
 * A1. A member that votes is told to go on alone (recoverAlone). One that listens only cannot be: etcd 3.5 ends with "removed all
 *     voters". What it has is copied, key for key, into a new etcd of one member, at the same addresses.
 * A2. What the lost ones had given last is not known here. So terms and task ids leap by the margins of a restored backup.
 * A3. What a machine says of itself, and who leads, does not go along; nor do the seats of the lost ones.
 * A4. The copy gets its place, whole, by one rename; killed before, everything is as it was, and after it as if it had been done. Either
 *     way the same again is harmless.
 */
import { rename, rm } from "node:fs/promises";
import { ClusterError } from "@openclaw-cluster/contract/errors";

import { syncFolder } from "../system/synced-folder.ts";
import { randomId } from "../system/random-id.ts";
import { dirname } from "node:path";
import { epochIn } from "./etcd-claim.ts";
import { afterPrefix, OPERATIONS_MAX, type EtcdClient, type Operation } from "./etcd-client.ts";
import { fromJson, toJson, type Head } from "./etcd-codec.ts";
import { newStamp } from "./etcd-fold.ts";
import { openEtcd } from "./etcd-gateway.ts";
import { Keys } from "./etcd-keys.ts";
import { local, pages } from "./etcd-look.ts";
import { hasData, readMembership, writeMembership } from "./etcd-membership.ts";
import { checkMajorityLost, placeMember, recoverAlone, startEtcdServer, type EtcdServer, type EtcdServerOptions } from "./etcd-server.ts";
import { openEtcdStore } from "./etcd.ts";
import { EPOCH_MAX, EPOCHS_MARGIN, KEYS_MARGIN } from "./sqlite-restore.ts";

export interface AloneOptions extends Omit<EtcdServerOptions, "beginning"> {
  /** Of the cluster's keys. */
  readonly prefix: string;
}

export interface Alone {
  /** The next term is above it. */
  readonly epoch: number;
  /** The next task's key is one more. */
  readonly lastKey: number;
  /** Whose seats were taken away. */
  readonly lost: readonly string[];
  /** Where the data of before lies; undefined: it is the same. */
  readonly setAside?: string;
}

/** Everything under the prefix is copied but these: A3. */
const ABOUT_MACHINES = ["control/", "progress/", "leader"];
const READY_MS = 60_000;
/** As a fold's transactions. */
const BYTES_PER_WRITE = 512 * 1_024;

/** Throws state_conflict where others answer still, and what startEtcdServer and recoverAlone throw. No daemon may run here meanwhile. */
export async function goOnAlone(options: AloneOptions): Promise<Alone> {
  const { folder } = options;
  const draft = `${folder}.alone`;
  // A4: the data of before was set aside already.
  if (!(await hasData(folder)) && (await hasData(draft))) await rename(draft, folder);
  await rm(draft, { recursive: true, force: true });
  const own = await placeMember(options);
  const { certificates } = options;
  const tls = { authority: certificates.server.authority, certificate: certificates.client.chain, key: certificates.client.key };
  await checkMajorityLost(own, options.others(), tls);
  const server = await startEtcdServer(options);
  const client = openEtcd({ endpoints: [server.clientUrl], tls });
  let copied: { leap: Leap } | undefined;
  try {
    if ((await server.status()).learner === true) copied = { leap: await copyTo(draft, client, options) };
  } finally {
    client.close();
    await server.stop();
  }
  if (copied === undefined) {
    await recoverAlone(options);
    return inOwn(await startEtcdServer(options), options, leap);
  }
  await writeMembership(draft, { ...(await membershipIn(draft)), clientUrl: own.clientUrl, peerUrl: own.peerUrl });
  const setAside = `${folder}.${new Date(options.clock.wall()).toISOString().replaceAll(":", "")}.old`;
  await rename(folder, setAside);
  await rename(draft, folder);
  await syncFolder(dirname(folder));
  return { ...copied.leap, setAside };
}

type Leap = Omit<Alone, "setAside">;

/** A new etcd of one in that folder, which has stopped again when it resolves. */
async function copyTo(draft: string, from: EtcdClient, options: AloneOptions): Promise<Leap> {
  const beginning = { kind: "first" } as const;
  const place = { folder: draft, ports: { client: 0, peer: 0 }, others: () => [], beginning };
  return inOwn(await startEtcdServer({ ...options, ...place }), options, async (to, parts) => {
    await copyAll(from, to, parts);
    return leap(to, parts);
  });
}

async function inOwn<T>(
  server: EtcdServer,
  options: AloneOptions,
  work: (client: EtcdClient, options: AloneOptions) => Promise<T>,
): Promise<T> {
  const { server: shown, client: own } = options.certificates;
  const tls = { authority: shown.authority, certificate: own.chain, key: own.key };
  const client = openEtcd({ endpoints: [server.clientUrl], tls });
  try {
    await server.whenReady(READY_MS);
    return await work(client, options);
  } finally {
    client.close();
    await server.stop();
  }
}

async function copyAll(from: EtcdClient, to: EtcdClient, { prefix, log, clock }: AloneOptions): Promise<void> {
  const { revision } = await from.range({ from: prefix, to: afterPrefix(prefix), limit: 1, keysOnly: true, local: true });
  const look = local({ client: from, keys: new Keys(prefix), log, clock });
  const passed = ABOUT_MACHINES.map((name) => prefix + name);
  let puts: Operation[] = [];
  let bytes = 0;
  const write = async (): Promise<void> => {
    if (puts.length > 0) await to.transact({ when: [], then: puts });
    [puts, bytes] = [[], 0];
  };
  for await (const page of pages(look, { from: prefix, to: afterPrefix(prefix), revision })) {
    for (const { key, value } of page) {
      if (passed.some((name) => key.startsWith(name))) continue;
      if (puts.length >= OPERATIONS_MAX || bytes + value.length > BYTES_PER_WRITE) await write();
      puts.push({ put: key, value });
      bytes += value.length;
    }
  }
  await write();
}

/** A2, A3. */
async function leap(client: EtcdClient, options: AloneOptions): Promise<Leap> {
  const { prefix, name, log, clock } = options;
  const keys = new Keys(prefix);
  const store = await openEtcdStore({ client, prefix, log, clock });
  try {
    await store.claim();
    await store.fold();
  } finally {
    await store.close();
  }
  const seats = `${prefix}seat/`;
  const [{ found }, { entries }] = await Promise.all([
    client.transact({ when: [], then: [{ get: keys.epoch }, { get: keys.head }] }),
    client.range({ from: seats, to: afterPrefix(seats), keysOnly: true }),
  ]);
  const [mark, folded] = found.map((entry) => entry?.value ?? Buffer.from("{}"));
  const epoch = epochIn((mark as Buffer).toString()) + EPOCHS_MARGIN;
  if (epoch > EPOCH_MAX) throw new ClusterError("store_unreadable", `It would go on after term ${epoch}; ${EPOCH_MAX} is the last one.`);
  const head = fromJson<Head>(folded as Buffer);
  const lastKey = head.lastKey + KEYS_MARGIN;
  const lost = entries.map(({ key }) => key.slice(seats.length)).filter((node) => node !== name);
  await client.transact({
    when: [{ key: keys.epoch, value: mark as Buffer }],
    then: [
      { put: keys.epoch, value: `${epoch} ${randomId()}` },
      { put: keys.head, value: toJson({ ...head, lastKey, stamp: newStamp() }) },
      ...lost.flatMap((node): Operation[] => [{ delete: seats + node }, { deletePrefix: `${prefix}progress/${node}` }]),
    ],
  });
  return { epoch, lastKey, lost };
}

async function membershipIn(folder: string) {
  const membership = await readMembership(folder);
  if (membership === undefined) throw new Error(`${folder} has no member.json`);
  return membership;
}
