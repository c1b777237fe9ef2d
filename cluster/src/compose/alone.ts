/**
 * What a person does at a control node while its daemon is stopped: lets it go on alone, where the others are lost for good; or
 * makes it a worker, where the others have gone on without it.
 *
 * L1. Neither happens while the others say something else: one that is a member among a majority has nothing to force, and is demoted
 *     through the cluster.
 * L2. Afterwards it does not know the addresses of the lost ones any more. One of those that comes back is another cluster's by then.
 */
import path from "node:path";
import { ClusterError } from "@openclaw-cluster/contract/errors";
import { CONTROL_URLS_MAX } from "@openclaw-cluster/contract/wire";
import { afterPrefix } from "../store/etcd-client.ts";
import { goOnAlone, type Alone } from "../store/etcd-alone.ts";
import { parseControlNode } from "../store/etcd-control-nodes.ts";
import { openEtcd } from "../store/etcd-gateway.ts";
import { readMembership, standingOf } from "../store/etcd-membership.ts";
import { trustOf } from "../store/etcd-server.ts";
import { resolveBinary } from "../system/binaries.ts";
import { systemClock } from "../system/clock.ts";
import { loadConfig, type ClusterConfig } from "../system/config.ts";
import { cacheFolder, foldersOf, type Environment, type Folders } from "../system/folders.ts";
import { claimHome } from "../system/home-claim.ts";
import { silentLog } from "../system/log.ts";
import type { MemberCertificates } from "../trust/authority.ts";
import { loadNodeKeys } from "../trust/keys.ts";
import { loadAuthority } from "./authority-files.ts";
import { finishForgetting, forgetControl } from "./handover.ts";
import { keepMembers, membersFile, readMembers } from "./own-etcd.ts";

export interface Here {
  readonly home: string;
  readonly env: Environment;
}

/** Which node this is. Throws state_conflict where its store is not the cluster's own etcd, or where it could not lead. */
export async function checkMayLeadAlone({ home, env }: Here): Promise<string> {
  const config = await loadConfig({ home, env });
  checkShares(config);
  if (config.roles.includes("coordinator")) return config.nodeId;
  throw new ClusterError("state_conflict", `${config.nodeId} is a witness and cannot lead; do this on a machine that can`);
}

/** The next start leads, with what this machine has. Throws state_conflict where a majority answers (L1). */
export async function leadAlone({ home, env }: Here, tell: (text: string) => void): Promise<Alone> {
  await checkMayLeadAlone({ home, env });
  return claimed(home, async (folders) => {
    const { config, certificates, folder, host, others } = await ownMember({ home, env });
    const options = { cacheFolder: cacheFolder(env), log: silentLog, env, onProgress: tell };
    const { path: binary } = await resolveBinary("etcd", options);
    const { store, nodeId: name } = config;
    const about = { binary, folder, name, host, certificates, prefix: store.prefix, others: () => others };
    const done = await goOnAlone({ ...about, log: silentLog, clock: systemClock });
    await keepMembers(membersFile(folders.data), []);
    return done;
  });
}

/** A worker of those that have gone on without it. Gives where they are. Throws state_conflict where they say that it is one of them. */
export async function demoteHere({ home, env }: Here): Promise<readonly string[]> {
  const config = await loadConfig({ home, env });
  checkShares(config);
  return claimed(home, async (folders) => {
    const { certificates, member, others } = await ownMember({ home, env });
    const { nodeId, store } = config;
    const standing = member === undefined ? "removed" : await standingOf(member, others, trustOf(certificates));
    if (standing === "unknown") throw new ClusterError("unavailable", `no other control node answers at ${others.join(", ")}`);
    if (standing !== "removed")
      throw new ClusterError("state_conflict", `${nodeId} is one of the control nodes still; start it, then: demote ${nodeId}`);
    const urls = await apisOf(others, store.prefix, certificates);
    const ground = { config, folders };
    await forgetControl(ground, urls);
    await finishForgetting({ folders, config: await loadConfig({ home, env }) });
    return urls;
  });
}

function checkShares({ nodeId, roles, store }: ClusterConfig): void {
  if (!roles.includes("coordinator") && !roles.includes("witness"))
    throw new ClusterError("state_conflict", `${nodeId} is no control node`);
  if (store.kind !== "etcd")
    throw new ClusterError("state_conflict", `${nodeId} keeps its store in a file of its own, and leads alone anyway`);
  if (store.endpoints.length > 0)
    throw new ClusterError(
      "state_conflict",
      `the store is in an etcd that is not the cluster's own (${store.endpoints.join(", ")}); recover that with its own means`,
    );
}

async function claimed<T>(home: string, work: (folders: Folders) => Promise<T>): Promise<T> {
  const folders = foldersOf(home);
  const claim = claimHome(home, folders.data);
  try {
    return await work(folders);
  } finally {
    claim.release();
  }
}

interface OwnMember {
  readonly config: ClusterConfig;
  readonly folder: string;
  readonly host: string;
  readonly member: string | undefined;
  readonly certificates: MemberCertificates;
  readonly others: readonly string[];
}

async function ownMember({ home, env }: Here): Promise<OwnMember> {
  const [config, folders] = [await loadConfig({ home, env }), foldersOf(home)];
  const folder = path.join(folders.data, "etcd");
  const membership = (await readMembership(folder)) ?? (await readMembership(`${folder}.alone`));
  if (membership === undefined) throw new ClusterError("state_conflict", `${config.nodeId} has no etcd of the cluster in ${folder}`);
  const { publicKey } = await loadNodeKeys(folders.coordinatorSeed);
  const now = systemClock.wall();
  const authority = await loadAuthority(folders, publicKey, now);
  const { hostname } = new URL(membership.clientUrl);
  const host = hostname.replace(/^\[|\]$/g, "");
  const others = await readMembers(membersFile(folders.data));
  return { config, folder, host, member: membership.id, certificates: authority.etcd.certifyMember([host], now), others };
}

async function apisOf(endpoints: readonly string[], prefix: string, certificates: MemberCertificates): Promise<readonly string[]> {
  const client = openEtcd({ endpoints, tls: trustOf(certificates) });
  try {
    const folder = `${prefix}control/`;
    const { entries } = await client.range({ from: folder, to: afterPrefix(folder) });
    const urls = entries.flatMap(({ value }) => parseControlNode(JSON.parse(value.toString()))?.apiUrls ?? []);
    if (urls.length > 0) return urls.slice(0, CONTROL_URLS_MAX);
    throw new ClusterError("unavailable", "the other control nodes are not up; try again when one of them is");
  } finally {
    client.close();
  }
}
