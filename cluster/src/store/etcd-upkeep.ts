/** What is asked of etcd beside keys and leases: its members, its room, its history. */
import type { EtcdClient, EtcdStatus, Member } from "./etcd-client.ts";
import { CHANGE, LOOK, type Endpoints } from "./etcd-endpoints.ts";

type Upkeep = Pick<
  EtcdClient,
  "compact" | "status" | "members" | "addMember" | "promoteMember" | "removeMember" | "moveLeader" | "hasNoSpace" | "disarm" | "defragment"
>;

interface MemberAnswer {
  readonly ID: string;
  readonly name?: string;
  readonly peerURLs?: readonly string[];
  readonly clientURLs?: readonly string[];
  readonly isLearner?: boolean;
}

export function upkeep(endpoints: Endpoints): Upkeep {
  return {
    async compact(revision, options) {
      await endpoints.ask("/v3/kv/compaction", { revision }, { ...options, ...LOOK });
    },
    async status(options = {}) {
      return statusOf(await endpoints.ask("/v3/maintenance/status", {}, { ...options, ...LOOK }));
    },
    async members({ local, ...options } = {}) {
      const { members } = await endpoints.ask("/v3/cluster/member/list", { linearizable: local !== true }, { ...options, ...LOOK });
      return ((members ?? []) as MemberAnswer[]).map(memberOf);
    },
    async addMember(peerUrl, { learner, ...options } = {}) {
      const body = { peerURLs: [peerUrl], isLearner: learner === true };
      const { member } = await endpoints.ask("/v3/cluster/member/add", body, { ...options, ...CHANGE });
      return memberOf(member as MemberAnswer);
    },
    async promoteMember(id, options) {
      await endpoints.ask("/v3/cluster/member/promote", { ID: decimal(id) }, { ...options, ...CHANGE });
    },
    async removeMember(id, options) {
      await endpoints.ask("/v3/cluster/member/remove", { ID: decimal(id) }, { ...options, ...CHANGE });
    },
    async moveLeader(endpoint, to, options) {
      await endpoints.ask("/v3/maintenance/transfer-leadership", { targetID: decimal(to) }, { ...options, ...CHANGE, endpoint });
    },
    async hasNoSpace(options) {
      const { alarms } = await endpoints.ask("/v3/maintenance/alarm", { action: "GET" }, { ...options, ...LOOK });
      return ((alarms ?? []) as { alarm?: string }[]).some(({ alarm }) => alarm === "NOSPACE");
    },
    async disarm(options) {
      await endpoints.ask("/v3/maintenance/alarm", { action: "DEACTIVATE", alarm: "NOSPACE" }, { ...options, ...LOOK });
    },
    async defragment(endpoint, options) {
      await endpoints.ask("/v3/maintenance/defragment", {}, { ...options, ...LOOK, endpoint });
    },
  };
}

function statusOf(answer: Record<string, unknown>): EtcdStatus {
  const { header, leader = "0" } = answer as { header: { member_id: string; revision?: string }; leader?: string };
  return {
    version: String(answer["version"]),
    member: hex(header.member_id),
    leader: leader === "0" ? undefined : hex(leader),
    term: Number(answer["raftTerm"] ?? 0),
    revision: Number(header.revision ?? 0),
    ...(answer["isLearner"] === true && { learner: true }),
    databaseBytes: Number(answer["dbSize"] ?? 0),
    usedBytes: Number(answer["dbSizeInUse"] ?? 0),
  };
}

function memberOf({ ID, name = "", peerURLs = [], clientURLs = [], isLearner }: MemberAnswer): Member {
  return { id: hex(ID), name, peerUrls: peerURLs, clientUrls: clientURLs, learner: isLearner === true };
}

const hex = (decimalText: string): string => BigInt(decimalText).toString(16);
const decimal = (hexText: string): string => BigInt(`0x${hexText}`).toString();
