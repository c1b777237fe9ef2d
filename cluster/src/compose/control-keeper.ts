/** What this machine does for a coordinator that makes others control nodes and workers again (coordinator/control-desk.ts). */
import { ClusterError } from "@openclaw-cluster/contract/errors";
import type { ChangingServer } from "../bus/nats-changing-server.ts";
import type { ControlRoom } from "../coordinator/control-room.ts";
import type { ControlNodes } from "../store/control-nodes.ts";
import { SEATS_MAX, type ControlSeat, type ControlSeats } from "../store/control-seats.ts";
import { checkRemoval, removeMember, seeMembers } from "../store/etcd-members.ts";
import type { Ground } from "./ground.ts";
import { tellHandover } from "./handover.ts";
import type { SharedEtcd } from "./shared-etcd.ts";

export interface KeeperParts {
  readonly ground: Ground;
  readonly etcd: SharedEtcd;
  readonly seats: ControlSeats;
  readonly controlNodes: ControlNodes;
  readonly server: Pick<ChangingServer, "removePeer">;
  /** What it has told of itself goes too. */
  forget(node: string): Promise<void>;
  handOver(): void;
}

export function openControlKeeper({ ground, etcd, seats, controlNodes, server, forget, handOver }: KeeperParts): ControlRoom {
  const { config, log } = ground;
  const seatOf = (node: string): ControlSeat | undefined => seats.all.find((one) => one.node === node);
  return {
    has: (node) => seats.all.some((seat) => seat.node === node),
    async handover({ witness, token }) {
      if (seats.all.length >= SEATS_MAX)
        throw new ClusterError("state_conflict", `there are ${SEATS_MAX} control nodes, and more only make each commit slower`);
      const members = etcd.member === undefined ? [] : (await seeMembers(etcd.client)).flatMap(({ clientUrls }) => clientUrls);
      return tellHandover(ground, { witness, token, members });
    },
    async checkRelease(node) {
      const member = seatOf(node)?.etcdMember;
      if (member !== undefined) await checkRemoval(etcd.client, member);
    },
    async release(node) {
      const seat = seatOf(node);
      if (seat === undefined) return;
      if (seat.etcdMember !== undefined) await removeMember(etcd.client, seat.etcdMember);
      await seats.remove(node);
      await forget(node);
      // The bus's servers wait for it otherwise; where they are not one, there is nothing to do.
      await server.removePeer(seat.route.serverName).catch((error: unknown) => {
        log.info({ err: error, node }, "the bus's servers were not told that one of them is gone");
      });
    },
    handOver() {
      if (!controlNodes.all.some(({ node, witness }) => node !== config.nodeId && witness !== true))
        throw new ClusterError("state_conflict", `${config.nodeId} leads, and no other control node is up that could`);
      handOver();
    },
  };
}
