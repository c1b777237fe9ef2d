/** What the lead is made of, and what its own parts may see of it. */
import type { NodeId } from "@openclaw-cluster/contract/ids";
import type { LentModel } from "@openclaw-cluster/contract/models";
import type { Migration, MigrationRequest } from "@openclaw-cluster/contract/store-migration";
import type { Strategy } from "@openclaw-cluster/contract/task-spec";
import type { Bus, BusServer } from "../bus/bus.ts";
import type { Claim, Store } from "../store/store.ts";
import type { Clock } from "../system/clock.ts";
import type { Log } from "../system/log.ts";
import type { Whois } from "../system/tailscale-whois.ts";
import type { Keyring } from "../trust/keyring.ts";
import type { Sign } from "../trust/signature.ts";
import type { BackupParts } from "./backups.ts";
import type { BusGate } from "./bus-gate.ts";
import type { ControlRoom } from "./control-room.ts";
import type { ControlWatch } from "./control-view.ts";
import type { Peer } from "./coordinator.ts";
import type { NodeEntry } from "./registry.ts";
import type { StandbyWords } from "./standby-words.ts";
import type { State } from "./state.ts";
import type { Turn } from "./turn.ts";

/** What is asked about machines that join, beyond their code. */
export interface Joiners {
  whois(peer: Peer): Promise<Whois>;
  /** Only machines of these logins or tags may join; empty: of any. */
  readonly logins: readonly string[];
}

/** Who can put this daemon's coordinator over another store: the daemon. */
export interface StoreMover {
  /** Begins, and resolves then; `migration` tells how it goes. state_conflict while another one is under way. */
  migrate(request: MigrationRequest): Promise<Migration>;
  /** The last one since the daemon's start. */
  migration(): Migration | undefined;
}

export interface LeadParts {
  readonly name: string;
  readonly version: string;
  /** The node whose daemon this coordinator runs in. */
  readonly self: NodeId;
  /** The keys in that daemon's folder by which the cluster may know its node; none where it does no work. */
  readonly ownKeys?: readonly string[];
  readonly store: Store;
  /** The store is claimed already, by whoever found that this coordinator leads. */
  readonly claim?: Claim;
  /** There where another coordinator may have led this store before, and have lost the lead; with its node, where that is known. */
  readonly former?: { readonly node?: string };
  /** Of control nodes that stand by; absent where there can be none. */
  readonly words?: Pick<StandbyWords, "read">;
  readonly bus: Bus;
  /** The server behind the bus, where this daemon runs it. */
  readonly busServer?: Pick<BusServer, "authorize" | "version" | "onDisconnect" | "isConnected" | "onTrespass" | "onGuess">;
  /** Whom the bus believes: the approved nodes. */
  readonly keyring: Keyring;
  /** The public half of the key with which this coordinator signs; nodes keep it when they join. */
  readonly coordinatorKey: string;
  /** With that key. */
  readonly sign: Sign;
  /** Whom nodes know the coordinator's servers by; its pin goes into join codes. */
  readonly authority: { readonly certificate: string; readonly pin: string };
  /** Where workers find the bus. */
  busUrls(): readonly string[];
  /** Where other machines find the API, likeliest first; asked for when it listens. */
  apiUrls(): readonly string[];
  /** Those of all control nodes, this machine's first; without others its own. */
  controlUrls(): readonly string[];
  /** Where the store is shared; without it this machine is the only control node that there can be. */
  readonly control?: ControlRoom;
  readonly joiners?: Joiners;
  readonly strategy: Strategy;
  /** Finished tasks are kept this long. */
  readonly retentionMs: number;
  /** At most so many of them; any number without it. */
  readonly retentionTasks?: number;
  readonly clock: Clock;
  readonly random: () => number;
  readonly log: Log;
  /** Where copies of the store go; without it none are made. */
  readonly backups?: BackupParts;
  /** Those that share the store; absent where nobody does. */
  readonly controlView?: ControlWatch;
  /** What nodes lend at the moment: the router's list, which is there only after the coordinator. Absent: nothing. */
  models?(): Promise<readonly LentModel[]> | undefined;
  /** Absent: this store stays where it is. */
  readonly storeMover?: StoreMover;
  /** The process must end: the store is broken or another coordinator leads. */
  broken(error: unknown): void;
}

export interface Leading {
  readonly parts: LeadParts;
  readonly state: State;
  readonly turn: Turn;
  readonly gate: BusGate;
  /** A node has tried what only another may; noted, with a limit. */
  trespassed(node: NodeId, what: string): void;
  /** Somebody without a name has tried to come in; noted, with a limit. */
  guessed(address: string, what: string): void;
  /** Tells the scheduler and the listeners that a node is not what it was. */
  nodeChanged(entry: NodeEntry): void;
}
