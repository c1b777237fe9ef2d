/**
 * The machines that had etcd's majority are lost for good, and this one goes on alone with what it has: because a person says so.
 *
 * A1. A member that votes is told to go on alone (recoverAlone). One that listens only cannot be: etcd 3.5 ends with "removed all
 *     voters", and without a leader it serves nobody. What its file has (etcd-file.ts) is copied, key for key, into a new etcd of one
 *     member, at the same addresses.
 * A2. What the lost ones had given last is not known here. So terms and task ids leap by the margins of a restored backup.
 * A3. What a machine says of itself, and who leads, does not go along; nor do the seats of the lost ones.
 * A4. The copy gets its place, whole, by one rename; killed before, everything is as it was, and after it as if it had been done. Either
 *     way the same again is harmless.
 */
import { rename, rm } from "node:fs/promises";
import { dirname } from "node:path";
import { ClusterError } from "@openclaw-cluster/contract/errors";
import { randomId } from "../system/random-id.ts";
import { syncFolder } from "../system/synced-folder.ts";
import { epochIn } from "./etcd-claim.ts";
import { afterPrefix, OPERATIONS_MAX, type EtcdClient, type Operation } from "./etcd-client.ts";
import { fromJson, toJson, type Head } from "./etcd-codec.ts";
import { readEtcdFile } from "./etcd-file.ts";
import { newStamp } from "./etcd-fold.ts";
import { openEtcd } from "./etcd-gateway.ts";
import { Keys } from "./etcd-keys.ts";
import { dataGone, hasData, readMembership, writeMembership } from "./etcd-membership.ts";
import {
  checkMajorityLost,
  placeMember,
  recoverAlone,
  startEtcdServer,
  trustOf,
  type EtcdServer,
  type EtcdServerOptions,
} from "./etcd-server.ts";
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
  await checkMajorityLost(own, options.others(), trustOf(options.certificates));
  const member = readEtcdFile(folder).members.get(own.id ?? "");
  if (member === undefined) throw dataGone(own);
  if (!member.learner) {
    await recoverAlone(options);
    return inOwn(await startEtcdServer(options), options, leap);
  }
  const leapt = await copyTo(draft, options);
  await writeMembership(draft, { ...(await membershipIn(draft)), clientUrl: own.clientUrl, peerUrl: own.peerUrl });
  const setAside = `${folder}.${new Date(options.clock.wall()).toISOString().replaceAll(":", "")}.old`;
  await rename(folder, setAside);
  await rename(draft, folder);
  syncFolder(dirname(folder));
  return { ...leapt, setAside };
}

type Leap = Omit<Alone, "setAside">;

/** A new etcd of one in that folder, which has stopped again when it resolves. */
async function copyTo(draft: string, options: AloneOptions): Promise<Leap> {
  // What it has heard of and not put into its file yet: F2 of etcd-file.ts.
  await (await startEtcdServer(options)).stop();
  const { values } = readEtcdFile(options.folder);
  const beginning = { kind: "first" } as const;
  const place = { folder: draft, ports: { client: 0, peer: 0 }, others: () => [], beginning };
  return inOwn(await startEtcdServer({ ...options, ...place }), options, async (client) => {
    await copyAll(values, client, options.prefix);
    return leap(client, options);
  });
}

async function inOwn<T>(
  server: EtcdServer,
  options: AloneOptions,
  work: (client: EtcdClient, options: AloneOptions) => Promise<T>,
): Promise<T> {
  const client = openEtcd({ endpoints: [server.clientUrl], tls: trustOf(options.certificates) });
  try {
    await server.whenReady(READY_MS);
    return await work(client, options);
  } finally {
    client.close();
    await server.stop();
  }
}

async function copyAll(values: ReadonlyMap<string, Buffer>, to: EtcdClient, prefix: string): Promise<void> {
  const passed = ABOUT_MACHINES.map((name) => prefix + name);
  let puts: Operation[] = [];
  let bytes = 0;
  const write = async (): Promise<void> => {
    if (puts.length > 0) await to.transact({ when: [], then: puts });
    [puts, bytes] = [[], 0];
  };
  for (const [key, value] of values) {
    if (!key.startsWith(prefix) || passed.some((name) => key.startsWith(name))) continue;
    if (puts.length >= OPERATIONS_MAX || bytes + value.length > BYTES_PER_WRITE) await write();
    puts.push({ put: key, value });
    bytes += value.length;
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
      ...[{ delete: `${prefix}leader` }, { deletePrefix: `${prefix}control/` }],
      ...lost.flatMap((node): Operation[] => [{ delete: seats + node }, { delete: `${prefix}progress/${node}` }]),
    ],
  });
  return { epoch, lastKey, lost };
}

async function membershipIn(folder: string) {
  const membership = await readMembership(folder);
  if (membership === undefined) throw new Error(`${folder} has no member.json`);
  return membership;
}
