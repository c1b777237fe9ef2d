/**
 * Who is a member of the managed etcd: one at first, then more, one at a time. Asked of any member; each step may be done twice.
 *
 * Q1. No step is taken after which fewer than a majority would answer. A dead member is removed before another comes.
 * Q2. A new member listens first (a learner) and votes only when it has all that the others have: until then it costs no vote.
 * Q3. A member that is replaced comes back under another id: what it knew and promised is gone with its disk.
 */
import { setTimeout as delay } from "node:timers/promises";
import { ClusterError } from "@openclaw-cluster/contract/errors";
import { EtcdFault, type EtcdClient, type EtcdStatus, type Member } from "./etcd-client.ts";
import type { Ticket } from "./etcd-membership.ts";
import { refusalToAdd, refusalToRemove } from "./etcd-quorum.ts";

/** A member, and what it says when it is asked itself. */
export interface SeenMember extends Member {
  /** Absent: it does not answer. */
  readonly status: EtcdStatus | undefined;
}

const STATUS_MS = 2_000;
const PROMOTE_MS_MAX = 300_000;
const TRY_MS = 250;
/** Of a member that was added: etcd counts another as present only some seconds after both have met. */
const CHANGE_MS_MAX = 15_000;

export async function seeMembers(client: EtcdClient): Promise<readonly SeenMember[]> {
  const members = await client.members().catch(explained);
  return Promise.all(members.map(async (member) => ({ ...member, status: await statusOf(client, member) })));
}

async function statusOf(client: EtcdClient, { clientUrls: [endpoint] }: Member): Promise<EtcdStatus | undefined> {
  if (endpoint === undefined) return undefined;
  return client.status({ endpoint, timeoutMs: STATUS_MS }).catch(() => undefined);
}

/** Enters a member that listens there, as a learner; its ticket lets it start. The same again for one that has not started yet. */
export async function announceMember(client: EtcdClient, newcomer: { name: string; peerUrl: string }): Promise<Ticket> {
  const seen = await seeMembers(client);
  const former = seen.find(({ peerUrls }) => peerUrls.includes(newcomer.peerUrl));
  if (former === undefined) refuse(refusalToAdd(seen));
  else if (former.name !== "") refuse(`etcd member ${former.id} (${former.name}) is at ${newcomer.peerUrl} already; remove it first`);
  const member = former ?? (await patiently(() => enter(client, newcomer.peerUrl), CHANGE_MS_MAX));
  const entry = ({ name, peerUrls }: Pick<Member, "name" | "peerUrls">): string => peerUrls.map((url) => `${name}=${url}`).join(",");
  const others = seen.filter(({ id }) => id !== member.id);
  return { member: member.id, initialCluster: [...others, { ...newcomer, peerUrls: [newcomer.peerUrl] }].map(entry).join(",") };
}

/** A first try whose answer was lost may have entered it. */
async function enter(client: EtcdClient, peerUrl: string): Promise<Member> {
  const entered = (await client.members()).find(({ peerUrls }) => peerUrls.includes(peerUrl));
  return entered ?? client.addMember(peerUrl, { learner: true });
}

/** Gives the learner its vote as soon as it has what the others have. Done already: nothing. */
export async function promoteMember(client: EtcdClient, id: string, timeoutMs = PROMOTE_MS_MAX): Promise<void> {
  await patiently(async () => {
    const member = (await client.members()).find((one) => one.id === id);
    if (member === undefined) throw new ClusterError("state_conflict", `etcd member ${id} is not on the list any more`);
    if (member.learner) await client.promoteMember(id);
  }, timeoutMs);
}

/** Q1: throws state_conflict where the removal would be refused. */
export async function checkRemoval(client: EtcdClient, id: string): Promise<void> {
  refuse(refusalToRemove(await seeMembers(client), id));
}

/** Q1. Not there any more: nothing. A leader hands over first. */
export async function removeMember(client: EtcdClient, id: string): Promise<void> {
  const seen = await seeMembers(client);
  const member = seen.find((one) => one.id === id);
  if (member === undefined) return;
  refuse(refusalToRemove(seen, id));
  const [clientUrl] = member.clientUrls;
  if (clientUrl !== undefined && member.status?.leader === id) await handOver(client, { clientUrl });
  await patiently(() => client.removeMember(id), CHANGE_MS_MAX).catch((error: unknown) => {
    if (!(error instanceof ClusterError) || !(error.cause instanceof EtcdFault) || error.cause.kind !== "not_found") throw error;
  });
}

/** Q3. The dead one goes, and one that listens there may come: the same machine with an empty folder, or another. */
export async function replaceMember(client: EtcdClient, id: string, newcomer: { name: string; peerUrl: string }): Promise<Ticket> {
  await removeMember(client, id);
  return announceMember(client, newcomer);
}

/** Gives etcd's leadership, if the member at this address has it, to the one that follows best. */
export async function handOver(client: EtcdClient, { clientUrl }: { clientUrl: string }): Promise<void> {
  const { member, leader } = await client.status({ endpoint: clientUrl, timeoutMs: STATUS_MS });
  if (leader !== member) return;
  const others = (await seeMembers(client)).filter(({ id, learner, status }) => id !== member && !learner && status !== undefined);
  const [best] = others.sort((a, b) => (b.status?.revision ?? 0) - (a.status?.revision ?? 0));
  if (best !== undefined) await client.moveLeader(clientUrl, best.id);
}

function refuse(why: string | undefined): void {
  if (why !== undefined) throw new ClusterError("state_conflict", why);
}

/** What etcd refuses or cannot decide at the moment, which it tells with one code each, may do in another. */
async function patiently<T>(change: () => Promise<T>, timeoutMs: number): Promise<T> {
  const giveUpAt = performance.now() + timeoutMs;
  for (;;) {
    try {
      return await change();
    } catch (error) {
      const mayPass = error instanceof EtcdFault && ["refused", "no_quorum", "unreachable", "undecided"].includes(error.kind);
      if (!mayPass || performance.now() > giveUpAt) return explained(error);
      await delay(TRY_MS);
    }
  }
}

function explained(error: unknown): never {
  if (!(error instanceof EtcdFault)) throw error;
  const code =
    error.kind === "refused" || error.kind === "not_found"
      ? "state_conflict"
      : error.kind === "unauthorized"
        ? "unauthorized"
        : "unavailable";
  throw new ClusterError(code, `etcd's members stay as they are: ${error.message}`, { cause: error });
}
