/** The list of control nodes in etcd: one key each, without a lease. */
import { ClusterError } from "@openclaw-cluster/contract/errors";
import { z } from "zod";
import type { Clock } from "../system/clock.ts";
import type { Log } from "../system/log.ts";
import { SEATS_MAX, type ControlSeat, type ControlSeats } from "./control-seats.ts";
import type { EtcdClient, Operation } from "./etcd-client.ts";
import { FollowedFolder } from "./etcd-folder.ts";
import { Keys } from "./etcd-keys.ts";
import { transact } from "./etcd-place.ts";

const Seat = z.object({
  node: z.string().max(64),
  route: z.object({ serverName: z.string().max(64), host: z.string().max(255), port: z.int().min(1).max(65_535) }),
  etcdMember: z.string().max(16).optional(),
  witness: z.literal(true).optional(),
});

export interface EtcdSeatsParts {
  readonly client: EtcdClient;
  /** Of this cluster's keys. */
  readonly prefix: string;
  readonly clock: Clock;
  readonly log: Log;
}

export function openEtcdControlSeats({ client, prefix, clock, log }: EtcdSeatsParts): ControlSeats {
  const folder = `${prefix}seat/`;
  const parse = (json: unknown): ControlSeat | undefined => Seat.safeParse(json).data as ControlSeat | undefined;
  const place = { client, keys: new Keys(prefix), clock, log };
  // Right after a member was taken out, the one that is asked may be that one; twice is as good as once.
  const change = async (operation: Operation): Promise<void> => {
    await transact(place, { when: [], then: [operation] }, { harmless: true });
  };
  const list = new FollowedFolder({ client, folder, parse, clock, log });
  return {
    get all() {
      return list.all;
    },
    heard: () => list.heard(),
    onChange: (listener) => list.onChange(listener),
    async take(seat) {
      const others = list.all.filter(({ node }) => node !== seat.node);
      if (others.length >= SEATS_MAX)
        throw new ClusterError(
          "state_conflict",
          `this cluster has ${others.length} control nodes, and more than ${SEATS_MAX} only make it slower`,
        );
      await change({ put: folder + seat.node, value: JSON.stringify(Seat.parse(seat)) });
    },
    remove: (node) => change({ delete: folder + node }),
    close: () => list.close(),
  };
}
