/**
 * The etcd member that a control node runs, in a folder of its own. Who is a member is etcd-members.ts's; this is one of them.
 *
 * V1. Nobody is let in without a certificate of etcd's own authority (etcd-flags.ts), on the loopback neither.
 * V2. Its ports stay the same over restarts: the other members and the coordinators know them.
 * V3. It is started again as what it was, or not at all (etcd-membership.ts): never as another, never with an empty disk.
 * V4. A planned stop hands etcd's leadership over first, so that it costs no election.
 */
import { randomUUID } from "node:crypto";
import { appendFile, mkdir } from "node:fs/promises";
import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { ClusterError } from "@openclaw-cluster/contract/errors";
import { bracketed, isEvery } from "../system/address.ts";
import type { Clock } from "../system/clock.ts";
import { writePrivateFile } from "../system/folders.ts";
import { choosePort } from "../system/free-port.ts";
import { endStale, startKept, type KeptProgram } from "../system/kept-program.ts";
import type { Log } from "../system/log.ts";
import type { MemberCertificates } from "../trust/authority.ts";
import type { EtcdClient, EtcdStatus } from "./etcd-client.ts";
import type { EtcdTls } from "./etcd-endpoints.ts";
import { filesOf, HEARTBEAT_MS, lastComplaint, markOf, memberFlags } from "./etcd-flags.ts";
import { openEtcd } from "./etcd-gateway.ts";
import { handOver } from "./etcd-members.ts";
import {
  dataGone,
  hasData,
  howToStart,
  MemberRemoved,
  readMembership,
  standingOf,
  tellAddress,
  writeMembership,
  type Beginning,
  type Membership,
  type Start,
} from "./etcd-membership.ts";

export interface EtcdServerOptions {
  readonly binary: string;
  /** Its data, log, certificates and pid file; nobody else's. One daemon at a time, which the caller sees to. */
  readonly folder: string;
  /** The node's id. */
  readonly name: string;
  /** Of this machine: the loopback, or where the other members reach it. */
  readonly host: string;
  /** 0: any free one. Absent: 2379 and 2380, or free ones. They count once: what was chosen stays (V2). */
  readonly ports?: { readonly client: number; readonly peer: number };
  /** Certified for `host`. */
  readonly certificates: MemberCertificates;
  /** What to do where it has no data. */
  readonly beginning?: Beginning;
  /** The client URLs of the other members, as far as they are known; asked before each start. */
  others(): readonly string[];
  /** The same for all members: 100 ms, more where they are far apart or a disk is slow. */
  readonly heartbeatMs?: number;
  readonly log: Log;
  readonly clock: Clock;
}

type EtcdPlace = Pick<EtcdServerOptions, "folder" | "name" | "host" | "ports" | "log">;

export interface EtcdServer {
  readonly clientUrl: string;
  readonly peerUrl: string;
  /** Hexadecimal. undefined: it has never been in service. */
  readonly member: string | undefined;
  /** Absent while it is being started again. */
  readonly pid: number | undefined;
  /** Resolves when it is in service, at once where it is. Without a majority a member that starts is not. */
  whenReady(timeoutMs: number): Promise<EtcdStatus>;
  /** Its own word; throws EtcdFault where it gives none. */
  status(): Promise<EtcdStatus>;
  /** Resolves if it finds itself removed from the cluster: then it has ended, for good. */
  readonly removed: Promise<MemberRemoved>;
  /** Shows these from the next connection on; who is connected stays. */
  renew(certificates: MemberCertificates): Promise<void>;
  stop(): Promise<void>;
}

const CLIENT_PORT = 2_379;
const PEER_PORT = 2_380;
/** A database of a few GiB is opened, and a log of some thousand commits applied. */
const START_MS_MAX = 60_000;
/** One that has been in service can lack a majority; then the start goes on without it. */
const START_AGAIN_MS_MAX = 10_000;
const LOOK_MS = 50;
const ANSWER_MS = 2_000;

/**
 * Chooses and keeps its URLs: another member has to enter the one for peers before this one can start. One that a killed daemon has
 * left behind takes up to 7 s to end by itself, and has these ports until then; it is ended first.
 */
export async function placeMember({ folder, name, host, ports, log }: EtcdPlace): Promise<Membership> {
  if (isEvery(host)) throw new ClusterError("config_invalid", `etcd listens on one address of this machine, not on ${host}`);
  await mkdir(folder, { recursive: true, mode: 0o700 });
  await endStale({ name: "etcd", folder, log, mark: markOf(folder) });
  const former = await readMembership(folder);
  const choose = (url: string | undefined, wanted: number | undefined, usual: number): Promise<number> =>
    url === undefined ? choosePort(host, wanted, undefined, usual) : choosePort(host, Number(new URL(url).port), undefined, usual);
  const client = await choose(former?.clientUrl, ports?.client, CLIENT_PORT);
  const peer = await choose(former?.peerUrl, ports?.peer, PEER_PORT);
  const urlOf = (port: number): string => `https://${bracketed(host)}:${port}`;
  const membership = { ...former, name, clientUrl: urlOf(client), peerUrl: urlOf(peer) };
  await writeMembership(folder, membership);
  return membership;
}

/**
 * Throws MemberRemoved where the others say so, state_conflict where its data is gone, port_taken, internal with etcd's own words
 * where it ends at once, unavailable where a new member does not come into service.
 */
export function startEtcdServer(options: EtcdServerOptions): Promise<EtcdServer> {
  return start(options, (state, how) => mayStart(state, how, options));
}

/**
 * The majority is lost for good: this member goes on alone, with what it has. Commits that only the lost ones had are gone, and lost ones
 * that come back must not: nobody but a person may say so. Afterwards it starts like any other, and others are added anew.
 */
export async function recoverAlone(options: Omit<EtcdServerOptions, "beginning">): Promise<void> {
  const server = await start(
    options,
    async ({ own, tls }) => {
      await checkMajorityLost(own, options.others(), tls);
    },
    ["--force-new-cluster"],
  );
  await server.stop();
}

/** Throws state_conflict where the others answer as a majority does. */
export async function checkMajorityLost(own: Membership, others: readonly string[], tls: EtcdTls): Promise<void> {
  if (own.id === undefined) throw dataGone(own);
  if ((await standingOf(own.id, others, tls)) === "unknown") return;
  throw new ClusterError("state_conflict", `etcd has a majority without ${own.name}: start it, or replace it; nothing needs to be forced`);
}

async function start(
  options: EtcdServerOptions,
  check: (state: State, how: Start) => Promise<void>,
  more: readonly string[] = [],
): Promise<EtcdServer> {
  const { folder, log, certificates } = options;
  const own = await placeMember(options);
  const how = howToStart(own, await hasData(folder), options.beginning);
  const client = openEtcd({ endpoints: [own.clientUrl], tls: () => state.tls });
  const served = { hasServed: !how.isFirst, isKnownHere: how.isFirst, isStopped: false };
  const state: State = { own, certificates, tls: trustOf(certificates), client, ...served };
  const removed = Promise.withResolvers<MemberRemoved>();
  const kept = await check(state, how)
    .then(() => keep(options, state, how, more, removed.resolve))
    .catch((error: unknown) => {
      state.client.close();
      throw error;
    });
  try {
    await Promise.race([whenReady(state, folder, how.isFirst ? START_MS_MAX : START_AGAIN_MS_MAX), endedAtOnce(kept)]);
  } catch (error) {
    const isWaiting = error instanceof ClusterError && error.code === "unavailable" && !how.isFirst;
    if (!isWaiting) {
      await stop(kept, state, log);
      throw error;
    }
    log.warn({ member: state.own.id }, "etcd waits for a majority of its members");
  }
  return {
    clientUrl: state.own.clientUrl,
    peerUrl: state.own.peerUrl,
    get member() {
      return state.own.id;
    },
    get pid() {
      return kept.pid;
    },
    whenReady: (timeoutMs) => whenReady(state, folder, timeoutMs),
    status: () => state.client.status({ timeoutMs: ANSWER_MS }),
    removed: removed.promise,
    async renew(certificates) {
      await writeCertificates(folder, certificates);
      state.tls = trustOf(certificates);
      state.certificates = certificates;
    },
    stop: () => stop(kept, state, log),
  };
}

interface State {
  own: Membership;
  certificates: MemberCertificates;
  /** Of the same. */
  tls: EtcdTls;
  /** As itself, at its own listener. */
  readonly client: EtcdClient;
  /** Its id stands for a disk that is its own. */
  hasServed: boolean;
  /** The others have its present address on their list. */
  isKnownHere: boolean;
  isStopped: boolean;
}

/** Of whoever runs a member, to any of them. */
export const trustOf = ({ server, client }: MemberCertificates): EtcdTls => ({
  authority: server.authority,
  certificate: client.chain,
  key: client.key,
});

/** V3, at the first start of this process. */
async function mayStart({ own, tls }: State, { member, isFirst }: Start, { others }: EtcdServerOptions): Promise<void> {
  if (member === undefined) return;
  const standing = await standingOf(member, others(), tls);
  if (standing === "removed") throw new MemberRemoved(member, own.name);
  if (!isFirst || standing === "never_started") return;
  // Its id has been in service, and this disk knows nothing of it; or nobody can tell.
  if (standing === "member") throw dataGone({ ...own, id: member });
  throw new ClusterError("unavailable", `none of the members that etcd member ${member} is to join answers: ${others().join(", ")}`);
}

async function keep(
  options: EtcdServerOptions,
  state: State,
  { initialState, initialCluster }: Start,
  more: readonly string[],
  tellRemoved: (removed: MemberRemoved) => void,
): Promise<KeptProgram> {
  const { folder, binary, log, clock, name } = options;
  const { clientUrl, peerUrl } = state.own;
  const flags = memberFlags({
    ...{ name, folder, clientUrl, peerUrl, initialCluster, initialState },
    // Only a new cluster takes it, and so a second one at the same addresses has nothing to do with the first.
    token: randomUUID(),
    heartbeatMs: options.heartbeatMs ?? HEARTBEAT_MS,
  });
  return startKept({
    ...{ name: "etcd", binary, args: [...flags, ...more], folder, log, clock },
    async prepare() {
      await mkdir(folder, { recursive: true, mode: 0o700 });
      if (state.hasServed && !(await hasData(folder))) throw dataGone(state.own);
      await writeCertificates(folder, state.certificates);
      // etcd would make it readable for everybody; it keeps the mode of the one that is there.
      await appendFile(join(folder, filesOf(folder).log), "", { mode: 0o600 });
    },
    async isWanted() {
      const { id } = state.own;
      if (id === undefined || (await standingOf(id, options.others(), state.tls)) !== "removed") return true;
      const removed = new MemberRemoved(id, name);
      log.error({ member: id }, removed.detail);
      tellRemoved(removed);
      return false;
    },
  });
}

async function writeCertificates(folder: string, { server, client }: MemberCertificates): Promise<void> {
  const files = filesOf(folder);
  await writePrivateFile(files.authority, server.authority);
  await writePrivateFile(files.server, server.chain + server.key);
  await writePrivateFile(files.client, client.chain + client.key);
}

async function endedAtOnce(kept: KeptProgram): Promise<never> {
  await kept.firstExit;
  throw new ClusterError("internal", `etcd ended at once: ${lastComplaint(kept.lastWords) || "see etcd.log in its folder"}`);
}

async function whenReady(state: State, folder: string, timeoutMs: number): Promise<EtcdStatus> {
  const giveUpAt = performance.now() + timeoutMs;
  for (;;) {
    try {
      const status = await state.client.status({ timeoutMs: ANSWER_MS });
      if (!state.hasServed || state.own.id !== status.member) {
        state.own = { ...state.own, id: status.member };
        await writeMembership(folder, state.own);
        state.hasServed = true;
      }
      // A learner refuses to tell of members, and would be waited for in vain.
      if (!state.isKnownHere && status.learner !== true) await tellAddress(state.own, state.client, state.tls);
      state.isKnownHere = true;
      return status;
    } catch (cause) {
      if (performance.now() < giveUpAt && !state.isStopped) await delay(LOOK_MS);
      else
        throw new ClusterError("unavailable", `etcd is not in service after ${timeoutMs} ms: no majority of its members, or slow`, {
          cause,
        });
    }
  }
}

/** V4. What cannot be handed over costs an election, and nothing else. */
async function stop(kept: KeptProgram, state: State, log: Log): Promise<void> {
  state.isStopped = true;
  if (kept.pid !== undefined) {
    await handOver(state.client, state.own).catch((error: unknown) => log.warn({ err: error }, "etcd's leadership was not handed over"));
  }
  state.client.close();
  await kept.stop();
}
