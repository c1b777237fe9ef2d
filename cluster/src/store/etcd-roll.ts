/**
 * etcd's members as this machine sees them.
 *
 * R1. It is answered without a quorum too, by the members that can be reached. Who does not answer costs LOOK_MS, once for its list
 *     of members and once for all that are asked how they are.
 * R2. A member is asked where it says that it is, and where the settings say that etcd is: behind a name that only its own network
 *     knows it is no less there.
 */
import type { StoreMember } from "@openclaw-cluster/contract/cluster";
import { EtcdFault, type EtcdClient, type EtcdStatus, type Member } from "./etcd-client.ts";

const LOOK_MS = 1_500;

/** undefined: no member answers. By name. */
export async function seeStoreMembers(client: EtcdClient, endpoints: readonly string[]): Promise<readonly StoreMember[] | undefined> {
  const members = await passing(client.members({ local: true, timeoutMs: LOOK_MS }));
  if (members === undefined) return undefined;
  const urls = new Set([...endpoints, ...members.flatMap(({ clientUrls }) => clientUrls.slice(0, 1))]);
  const said = await Promise.all([...urls].map((endpoint) => passing(client.status({ endpoint, timeoutMs: LOOK_MS }))));
  const statuses = said.filter((status) => status !== undefined);
  // One that is cut off can take another for the leader still.
  const newest = statuses.toSorted((a, b) => b.term - a.term)[0];
  return members
    .map((member) =>
      viewOf(
        member,
        statuses.find((status) => status.member === member.id),
        newest?.leader,
      ),
    )
    .sort((a, b) => (a.name < b.name ? -1 : 1));
}

function viewOf({ id, name, clientUrls, learner }: Member, status: EtcdStatus | undefined, leader: string | undefined): StoreMember {
  const about = { id, name, urls: [...clientUrls] };
  if (status === undefined) return { ...about, state: "away" };
  const state = learner ? "learner" : id === leader ? "leader" : "follower";
  return { ...about, state, version: status.version, term: status.term, bytes: status.databaseBytes };
}

async function passing<T>(asked: Promise<T>): Promise<T | undefined> {
  try {
    return await asked;
  } catch (error) {
    if (error instanceof EtcdFault) return undefined;
    throw error;
  }
}
