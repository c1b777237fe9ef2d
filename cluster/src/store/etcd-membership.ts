/**
 * What a member keeps of itself beside its data, and what follows from both for its next start. A member that has voted and forgotten
 * it could vote again, for somebody else; so one id goes with one disk.
 *
 * M1. A member whose data is gone does not start under its id: it is removed and added anew, and gets another.
 * M2. One that was removed while it was away does not start: whoever of the others answers is asked before each start.
 */
import { readdir } from "node:fs/promises";
import { join } from "node:path";
import { ClusterError } from "@openclaw-cluster/contract/errors";
import { z } from "zod";
import { readTextFile, writePrivateFile } from "../system/folders.ts";
import type { EtcdClient, Member } from "./etcd-client.ts";
import { Endpoints, LOOK, type EtcdTls } from "./etcd-endpoints.ts";
import { openEtcd } from "./etcd-gateway.ts";

const Membership = z.object({
  name: z.string(),
  clientUrl: z.url(),
  peerUrl: z.url(),
  /** Hexadecimal; of a member that has been in service. */
  id: z.string().optional(),
});
export type Membership = z.infer<typeof Membership>;

/** What the cluster gives to a machine that is to become a member of it (etcd-members.ts). */
export interface Ticket {
  /** The id under which it was entered. */
  readonly member: string;
  /** `name=url,…` of all members, this one too. */
  readonly initialCluster: string;
}

/** What a member without data does: it is the first of a new cluster, or joins one. */
export type Beginning = { readonly kind: "first" } | { readonly kind: "join"; readonly ticket: Ticket };

export interface Start {
  readonly initialState: "new" | "existing";
  readonly initialCluster: string;
  /** Only if the others have this member on their list, and, at its first start, have never seen it. */
  readonly member: string | undefined;
  readonly isFirst: boolean;
}

/** It is not of the cluster any more. Its data is worth nothing; with an empty folder it can be added again. */
export class MemberRemoved extends ClusterError {
  override name = "MemberRemoved";

  constructor(member: string, name: string) {
    super(
      "state_conflict",
      `etcd member ${member} (${name}) was removed from the cluster, and so it does not start. ` +
        `To have this machine work for the others again: openclaw-cluster demote --here; then it can be promoted again`,
    );
  }
}

export function howToStart(own: Membership, hasData: boolean, beginning: Beginning | undefined): Start {
  const alone = `${own.name}=${own.peerUrl}`;
  if (hasData) return { initialState: "existing", initialCluster: alone, member: own.id, isFirst: false };
  const isFresh = own.id === undefined || (beginning?.kind === "join" && beginning.ticket.member !== own.id);
  if (isFresh && beginning?.kind === "first") return { initialState: "new", initialCluster: alone, member: undefined, isFirst: true };
  if (isFresh && beginning?.kind === "join") {
    const { member, initialCluster } = beginning.ticket;
    return { initialState: "existing", initialCluster, member, isFirst: true };
  }
  throw dataGone(own);
}

export function dataGone({ id, name }: Membership): ClusterError {
  return new ClusterError(
    "state_conflict",
    `the data of etcd member ${id ?? name} is gone from this machine; it does not start with an empty disk. ` +
      "Replace it: remove it from the cluster and promote this node again, or put its whole folder back",
  );
}

/** `unknown`: nobody answers. */
export type Standing = "member" | "never_started" | "removed" | "unknown";

/** Asks each of them, because one that was cut off long ago may not know. */
export async function standingOf(member: string, others: readonly string[], tls: EtcdTls): Promise<Standing> {
  const lists = await Promise.all(others.map((endpoint) => membersAt(endpoint, tls)));
  const standings = lists.filter((list) => list !== undefined).map((list) => standingIn(list, member));
  return standings.find((standing) => standing === "removed") ?? standings[0] ?? "unknown";
}

function standingIn(list: readonly Member[], member: string): Standing {
  const entry = list.find(({ id }) => id === member);
  if (entry === undefined) return "removed";
  return entry.name === "" ? "never_started" : "member";
}

/** For one of the others to answer, before the start goes on without it. */
const ASK_MS = 2_000;

async function membersAt(endpoint: string, tls: EtcdTls): Promise<readonly Member[] | undefined> {
  const client = openEtcd({ endpoints: [endpoint], tls });
  try {
    return await client.members({ timeoutMs: ASK_MS });
  } catch {
    // Down, or without a majority: then it cannot know either.
    return undefined;
  } finally {
    client.close();
  }
}

/** A machine can have another address than at its last start: then the others must call it there. Said through itself; to a learner nobody listens. */
export async function tellAddress({ id, peerUrl, clientUrl }: Membership, client: EtcdClient, tls: EtcdTls): Promise<void> {
  const entry = (await client.members({ local: true })).find((member) => member.id === id);
  if (entry === undefined || entry.learner || entry.peerUrls.includes(peerUrl)) return;
  const endpoints = new Endpoints({ endpoints: [clientUrl], tls });
  try {
    await endpoints.ask("/v3/cluster/member/update", { ID: BigInt(`0x${id}`).toString(), peerURLs: [peerUrl] }, LOOK);
  } finally {
    endpoints.close();
  }
}

const FILE = "member.json";

export async function readMembership(folder: string): Promise<Membership | undefined> {
  const file = join(folder, FILE);
  const text = await readTextFile(file);
  if (text === undefined) return undefined;
  try {
    return Membership.parse(JSON.parse(text));
  } catch (cause) {
    throw new ClusterError("config_invalid", `${file} is not what this program wrote there; put it back from a copy`, { cause });
  }
}

export const writeMembership = (folder: string, membership: Membership): Promise<void> =>
  writePrivateFile(join(folder, FILE), `${JSON.stringify(membership)}\n`);

/** etcd itself takes the log of what was agreed on for the sign that it has been here before. */
export async function hasData(folder: string): Promise<boolean> {
  try {
    return (await readdir(join(folder, "data", "member", "wal"))).some((name) => name.endsWith(".wal"));
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "ENOENT") return false;
    throw error;
  }
}
