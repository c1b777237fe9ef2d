/** Who answers while this machine does not lead. */
import type { Role } from "../api/api.ts";
import type { Migration } from "@openclaw-cluster/contract/store-migration";
import { openStandby } from "../coordinator/standby.ts";
import type { EtcdReader } from "../store/etcd-reader.ts";
import type { Leadership } from "../store/leadership.ts";
import type { Claim, Loaded, Store } from "../store/store.ts";
import type { ControlViews } from "./control-view.ts";
import { VERSION, type Ground } from "./ground.ts";
import type { Shown } from "./stand.ts";
import { Whereabouts } from "./whereabouts.ts";

export interface StandbyRoleParts {
  readonly shown: Shown;
  readonly reader: EtcdReader;
  readonly leadership: Leadership<never>;
  controlView(): ControlViews | undefined;
  migration(): Migration | undefined;
}

export function standbyRole(ground: Ground, { shown, reader, leadership, controlView, migration }: StandbyRoleParts): Role {
  const leader = (): string | undefined => leadership.leader?.node;
  const whereabouts = new Whereabouts(leadership, ground.config.nodeId);
  return {
    coordinator: openStandby({ ...aboutThis(ground, shown), store: reader, clock: ground.clock, leader, controlView, migration }),
    relaying: {
      leader: () => whereabouts.present,
      freshness: async () => ({ staleMs: await reader.staleMs() }),
      trust: shown.trust,
    },
  };
}

export interface MovingParts {
  readonly shown: Shown;
  /** Reads only: whoever led over it has left it. */
  readonly store: Store;
  readonly claim: Claim;
  readonly loaded: Loaded;
  migration(): Migration | undefined;
}

/** In the moment in which the store is neither here nor there: nobody leads. */
export function movingRole(ground: Ground, { shown, store, claim, loaded, migration }: MovingParts): Role {
  const followed = {
    kind: store.kind,
    task: store.task.bind(store),
    list: store.list.bind(store),
    attempts: store.attempts.bind(store),
    audit: store.audit.bind(store),
    present: () => loaded,
    claimed: async () => claim,
  };
  const nobody = { leader: () => undefined, controlView: () => undefined, migration };
  return { coordinator: openStandby({ ...aboutThis(ground, shown), store: followed, clock: ground.clock, ...nobody }) };
}

function aboutThis({ config }: Ground, { keys }: Shown) {
  return { name: config.clusterName, version: VERSION, self: config.nodeId, coordinatorKey: keys.publicKey };
}
