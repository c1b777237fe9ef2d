/** What the coordinator's parts share: the ledger (replaced whole after a failed commit), the registry, and what goes out. */
import type { NodeId } from "@openclaw-cluster/contract/ids";
import type { Clock } from "../system/clock.ts";
import type { Log } from "../system/log.ts";
import type { SparingLog } from "../system/sparing-log.ts";
import type { FactsPace } from "./facts-pace.ts";
import type { Ledger } from "./ledger.ts";
import type { Outgoing } from "./outgoing.ts";
import type { Registry } from "./registry.ts";

export interface State {
  readonly epoch: number;
  readonly clock: Clock;
  readonly random: () => number;
  readonly log: Log;
  /** Of attempts that were lost with their node: thousands with one that many had, and as often as a node likes that lies about its lives. */
  readonly losses: SparingLog;
  /** A node has tried what only another may (Leading). */
  trespassed(node: NodeId, what: string): void;
  readonly registry: Registry;
  /** How often a node may be another one. */
  readonly facts: FactsPace;
  readonly outgoing: Outgoing;
  ledger: Ledger;
}
