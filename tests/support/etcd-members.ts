/**
 * Real members of etcd for one test file: each with a folder and ports of its own, certified by one authority, ended with the file.
 * The program comes from the same resolver as the product's.
 */
import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { EtcdClient, Transacted, Transaction } from "../../cluster/src/store/etcd-client.ts";
import { openEtcd } from "../../cluster/src/store/etcd-gateway.ts";
import { announceMember, promoteMember } from "../../cluster/src/store/etcd-members.ts";
import type { Beginning } from "../../cluster/src/store/etcd-membership.ts";
import { placeMember, startEtcdServer, type EtcdServer, type EtcdServerOptions } from "../../cluster/src/store/etcd-server.ts";
import { resolveBinary } from "../../cluster/src/system/binaries.ts";
import { systemClock } from "../../cluster/src/system/clock.ts";
import { cacheFolder } from "../../cluster/src/system/folders.ts";
import { choosePort } from "../../cluster/src/system/free-port.ts";
import { silentLog } from "../../cluster/src/system/log.ts";
import type { Authority } from "../../cluster/src/trust/authority.ts";
import { makeAuthority } from "./authority.ts";

const HOST = "127.0.0.1";

export interface TestMembers {
  readonly authority: Authority;
  readonly folder: string;
  /** Its folder, which a test may delete. */
  folderOf(name: string): string;
  optionsOf(name: string, more?: Partial<EtcdServerOptions>): Promise<EtcdServerOptions>;
  /** Starts it as what its folder says, or begins so. */
  start(name: string, beginning?: Beginning): Promise<EtcdServer>;
  /** Adds it to those that are there, and gives it its vote. */
  add(name: string): Promise<EtcdServer>;
  /** A coordinator's client of all that were started, or of these. */
  client(...names: string[]): EtcdClient;
  readonly servers: ReadonlyMap<string, EtcdServer>;
  stop(): Promise<void>;
}

export async function etcdBinary(): Promise<string> {
  return (await resolveBinary("etcd", { cacheFolder: cacheFolder(process.env), log: silentLog })).path;
}

/** One key, on condition or not. */
export function put(
  client: EtcdClient,
  key: string,
  { value = "x", when = [], timeoutMs }: { value?: string; when?: Transaction["when"]; timeoutMs?: number } = {},
): Promise<Transacted> {
  const transaction: Transaction = { when, then: [{ put: key, value }], otherwise: [{ get: key }] };
  return client.transact(transaction, timeoutMs === undefined ? {} : { timeoutMs });
}

/** An etcd as somebody else runs it: without TLS unless the flags say so. `url` as it is to be called. */
export async function startPlainEtcd(flags: readonly string[] = [], scheme = "http"): Promise<{ url: string; stop(): Promise<void> }> {
  const folder = await mkdtemp(join(tmpdir(), "ocx-etcd-"));
  const [client, peer] = [await choosePort(HOST, 0, undefined, 0), await choosePort(HOST, 0, undefined, 0)];
  const [url, peerUrl] = [`${scheme}://${HOST}:${client}`, `http://${HOST}:${peer}`];
  const args = [
    ...["--data-dir", join(folder, "data"), "--listen-client-urls", url, "--advertise-client-urls", url, "--log-level", "error"],
    ...["--listen-peer-urls", peerUrl, "--initial-advertise-peer-urls", peerUrl, "--initial-cluster", `default=${peerUrl}`, ...flags],
  ];
  const child = spawn(await etcdBinary(), args, { stdio: "ignore" });
  const ended = once(child, "exit");
  const stop = async (): Promise<void> => {
    child.kill("SIGKILL");
    await ended;
    await rm(folder, { recursive: true, force: true });
  };
  return { url, stop };
}

export async function openTestMembers(): Promise<TestMembers> {
  const folder = await mkdtemp(join(tmpdir(), "ocx-etcd-"));
  const authority = makeAuthority();
  const servers = new Map<string, EtcdServer>();
  const clients: EtcdClient[] = [];
  const folderOf = (name: string): string => join(folder, name);
  const urlsBut = (name: string): string[] => [...servers].filter(([other]) => other !== name).map(([, { clientUrl }]) => clientUrl);
  const optionsOf: TestMembers["optionsOf"] = async (name, more = {}) => ({
    ...{ binary: await etcdBinary(), folder: folderOf(name), name, host: HOST, ports: { client: 0, peer: 0 } },
    certificates: authority.etcd.certifyMember([HOST], Date.now()),
    others: () => urlsBut(name),
    ...{ log: silentLog, clock: systemClock, ...more },
  });
  const start: TestMembers["start"] = async (name, beginning) => {
    const server = await startEtcdServer(await optionsOf(name, beginning && { beginning }));
    servers.set(name, server);
    return server;
  };
  const client: TestMembers["client"] = (...names) => {
    const endpoints = [...servers].filter(([name]) => names.length === 0 || names.includes(name)).map(([, { clientUrl }]) => clientUrl);
    const { authority: ca, chain: certificate, key } = authority.etcd.certifyClient(Date.now());
    const opened = openEtcd({ endpoints, tls: { authority: ca, certificate, key } });
    clients.push(opened);
    return opened;
  };
  return {
    ...{ authority, folder, folderOf, optionsOf, start, client, servers },
    async add(name) {
      const asked = client();
      const ticket = await announceMember(asked, await placeMember(await optionsOf(name)));
      const server = await start(name, { kind: "join", ticket });
      await promoteMember(asked, ticket.member);
      return server;
    },
    async stop() {
      for (const one of clients) one.close();
      await Promise.all([...servers.values()].map((server) => server.stop()));
      await rm(folder, { recursive: true, force: true });
    },
  };
}
