/**
 * The member of the cluster's own etcd that this control node runs, and the way to it and to the others.
 *
 * O1. The first control node begins a cluster of one. Every further one is given the addresses of those that are there
 *     (etcd-members.json, written when it is promoted), and enters itself: whoever has the authority's key may.
 * O2. The second listens only: with two votes either machine's death would stop both. When a third comes, both vote.
 * O3. The addresses of the others are kept, so that this one finds them at its next start without any of them being asked before.
 */
import path from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { ClusterError } from "@openclaw-cluster/contract/errors";
import { z } from "zod";
import { EtcdFault, type EtcdClient } from "../store/etcd-client.ts";
import type { EtcdTls } from "../store/etcd-endpoints.ts";
import { openEtcd } from "../store/etcd-gateway.ts";
import { announceMember, promoteMember } from "../store/etcd-members.ts";
import { hasData, type Beginning } from "../store/etcd-membership.ts";
import { placeMember, startEtcdServer, trustOf, type EtcdServer } from "../store/etcd-server.ts";
import { resolveBinary } from "../system/binaries.ts";
import { readTextFile, writePrivateFile } from "../system/folders.ts";
import { isDue, type Authority, type MemberCertificates } from "../trust/authority.ts";
import type { Ground } from "./ground.ts";

export interface OwnEtcd {
  readonly client: EtcdClient;
  readonly server: EtcdServer;
  stop(): Promise<void>;
}

export interface OwnEtcdParts {
  readonly authority: Authority;
  /** Of this machine, at which the others reach it. */
  readonly host: string;
}

/** How often the list of members is read again, and the certificates are looked at. */
const LOOK_MS = 5_000;
const VOTES_FROM = 3;
const Others = z.array(z.url()).max(16);

/** Throws as startEtcdServer does, and what announceMember says where the others do not let it in. */
export async function openOwnEtcd(ground: Ground, { authority, host }: OwnEtcdParts): Promise<OwnEtcd> {
  const { config, folders, clock, log } = ground;
  const folder = path.join(folders.data, "etcd");
  const known = await KnownOthers.read(membersFile(folders.data));
  const certify = (): MemberCertificates => authority.etcd.certifyMember([host], clock.wall());
  let certificates = certify();
  let tls = trustOf(certificates);
  const binary = await resolveBinary("etcd", {
    cacheFolder: ground.cacheFolder,
    log,
    env: ground.env,
    onProgress: (text) => ground.progress(text),
  });
  const place = { folder, name: config.nodeId, host, ...(config.api.port === 0 && { ports: { client: 0, peer: 0 } }) };
  const own = await placeMember({ ...place, log });
  const beginning: Beginning | undefined = (await hasData(folder)) ? undefined : await begin(known.urls, own, tls);
  const server = await startEtcdServer({
    ...place,
    ...{ binary: binary.path, certificates, others: () => known.urls, log, clock },
    ...(beginning !== undefined && { beginning }),
  });
  let votes = beginning?.kind !== "join";
  const client = openEtcd({
    endpoints: () => (votes ? [server.clientUrl, ...known.urls] : [...known.urls, server.clientUrl]),
    tls: () => tls,
  });
  const leaving = new AbortController();
  const look = async (): Promise<void> => {
    const members = await client.members();
    await known.keep(members.filter(({ id }) => id !== server.member).flatMap(({ clientUrls }) => clientUrls));
    votes = members.some(({ id, learner }) => id === server.member && !learner);
    if (!votes && members.length >= VOTES_FROM && server.member !== undefined) await promoteMember(client, server.member, LOOK_MS);
    if (votes && (await server.status()).leader !== undefined) client.comeHome?.();
    if (!isDue(certificates.server, clock.wall())) return;
    certificates = certify();
    await server.renew(certificates);
    tls = trustOf(certificates);
  };
  const looking = (async () => {
    while (!leaving.signal.aborted) {
      await look().catch((error: unknown) => log.debug({ err: error }, "etcd's members cannot be looked at at the moment"));
      await delay(LOOK_MS, undefined, { signal: leaving.signal }).catch(() => undefined);
    }
  })();
  void server.removed.then((removed) => ground.fail(removed));
  return {
    client,
    server,
    async stop() {
      leaving.abort();
      await looking;
      client.close();
      await server.stop();
    },
  };
}

/** O1, O2. */
async function begin(others: readonly string[], own: { name: string; peerUrl: string }, tls: EtcdTls): Promise<Beginning> {
  if (others.length === 0) return { kind: "first" };
  const client = openEtcd({ endpoints: others, tls });
  try {
    // etcd takes one that listens at a time: whoever listened so far votes from now on.
    for (const { id, learner, name } of await client.members())
      if (learner && name !== "" && name !== own.name) await promoteMember(client, id);
    return { kind: "join", ticket: await announceMember(client, own) };
  } catch (error) {
    if (!(error instanceof EtcdFault)) throw error;
    throw new ClusterError("unavailable", `no control node of the cluster can be reached at ${others.join(", ")}`, { cause: error });
  } finally {
    client.close();
  }
}

export const membersFile = (data: string): string => path.join(data, "etcd-members.json");

/** O3. */
class KnownOthers {
  urls: readonly string[];
  private readonly file: string;

  static async read(file: string): Promise<KnownOthers> {
    return new KnownOthers(file, await readMembers(file));
  }

  private constructor(file: string, urls: readonly string[]) {
    this.file = file;
    this.urls = urls;
  }

  /** Nobody there is no news: a member that was cut off must still find the others. */
  async keep(urls: readonly string[]): Promise<void> {
    if (urls.length === 0 || urls.join() === this.urls.join()) return;
    await keepMembers(this.file, urls);
    this.urls = urls;
  }
}

export const keepMembers = (file: string, urls: readonly string[]): Promise<void> => writePrivateFile(file, `${JSON.stringify(urls)}\n`);

export async function readMembers(file: string): Promise<readonly string[]> {
  const text = await readTextFile(file);
  const read = text === undefined ? [] : Others.safeParse(JSON.parse(text)).data;
  if (read !== undefined) return read;
  throw new ClusterError("config_invalid", `${file} is not what this program wrote there; put it back from a copy`);
}
