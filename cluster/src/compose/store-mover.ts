/**
 * Moves the store of this control node into another kind while it works, and takes the seat over that one (store/store-move.ts).
 *
 * M1. Until the settings say so, which is one write, the store of before is the store: what fails before is told, and the seat over
 *     it is taken again. What fails afterwards ends the daemon; its next start goes by the settings.
 * M2. nats-server, the API and this machine's worker stay: what runs goes on, and who asks meanwhile is told to ask again.
 */
import { ClusterError, type ErrorCode } from "@openclaw-cluster/contract/errors";
import type { Migration, MigrationRequest } from "@openclaw-cluster/contract/store-migration";
import type { StoreMover } from "../coordinator/lead-parts.ts";
import { openEtcdTarget } from "../store/etcd-target.ts";
import { openSqliteTarget } from "../store/sqlite-target.ts";
import type { MoveTarget } from "../store/store-copy.ts";
import { StoreMove } from "../store/store-move.ts";
import { saveConfig } from "../system/config.ts";
import type { ControlStand } from "./control-stand.ts";
import type { Ground } from "./ground.ts";
import { openLoneSeat } from "./lone-seat.ts";
import type { Seat } from "./seat.ts";
import { openSharedEtcd, type SharedEtcd } from "./shared-etcd.ts";
import { openSharedSeat } from "./shared-seat.ts";
import { movingRole } from "./standby-role.ts";

type Led = NonNullable<Seat["led"]>;

/** Where it is moved to, opened. */
interface Place {
  readonly target: MoveTarget;
  readonly etcd?: SharedEtcd;
  /** As the settings are afterwards. */
  readonly ground: Ground;
  decide(): Promise<void>;
}

/** Until this machine leads over the other store. */
const LEADS_MS_MAX = 60_000;
const LOOK_MS = 20;

export class Mover implements StoreMover {
  private ground: Ground;
  private readonly stand: ControlStand;
  private seat: Seat | undefined;
  private tell: (seat: Seat) => void = () => undefined;
  private present: Migration | undefined;

  constructor(ground: Ground, stand: ControlStand) {
    this.ground = ground;
    this.stand = stand;
  }

  /** The seat that there is now; `tell` hears of the next one. */
  sits(seat: Seat, tell: (seat: Seat) => void): void {
    this.seat = seat;
    this.tell = tell;
  }

  migration(): Migration | undefined {
    return this.present;
  }

  async migrate(request: MigrationRequest): Promise<Migration> {
    const { seat } = this;
    const led = seat?.led;
    if (seat === undefined || led === undefined) throw new ClusterError("unavailable", "This machine does not lead; ask again.");
    if (this.present !== undefined && this.present.endedAt === undefined)
      throw new ClusterError("state_conflict", "The store is being moved already: openclaw-cluster store migrate shows how far it is.");
    if (led.store.kind === request.to) throw new ClusterError("state_conflict", `The store is in ${request.to} already.`);
    const refusal = seat.refusalToLeave();
    if (refusal !== undefined) throw new ClusterError("state_conflict", `The store stays in ${led.store.kind}: ${refusal}.`);
    const begun: Migration = { to: request.to, phase: "copying", startedAt: this.ground.clock.wall(), copied: 0, of: 0, behind: 0 };
    this.present = begun;
    try {
      const place = await this.openPlace(request, led);
      void this.run(seat, led, place);
      return begun;
    } catch (error) {
      this.failed(error);
      throw error;
    }
  }

  private async run(seat: Seat, led: Led, place: Place): Promise<void> {
    const { clock, log } = this.ground;
    const { nodeId: by } = this.ground.config;
    const move = new StoreMove({
      ...{ source: led.store, target: place.target, note: { to: place.ground.config.store.kind, by, at: clock.wall() }, clock, log },
      onProgress: ({ phase, copied, of, behind }) => this.at({ ...(isShown(phase) && { phase }), copied, of, behind }),
    });
    let leftAt: number | undefined;
    let isDecided = false;
    try {
      await move.copy();
      leftAt = clock.monotonic();
      await this.standBack(seat, led);
      await move.finish(() => {
        // Also where it fails: what is on the disk then only the next start knows.
        isDecided = true;
        return place.decide();
      });
      await place.target.close();
      await this.sitDown(seat, place);
      this.at({ phase: "done", behind: 0, stopMs: Math.round(clock.monotonic() - leftAt), endedAt: clock.wall() });
      log.info({ to: this.present?.to, stopMs: this.present?.stopMs }, "the store was moved");
    } catch (error) {
      log.error({ err: error }, isDecided ? "the store was moved, and could not be led over" : "the store was not moved");
      if (isDecided) return this.ground.fail(error);
      await this.goBack(seat, { move, place, hasLeft: leftAt !== undefined }).catch((fault: unknown) => this.ground.fail(fault));
      this.failed(error);
    }
  }

  /** M2. */
  private async standBack(seat: Seat, { store, claim }: Led): Promise<void> {
    await seat.leave();
    const { shown } = this.stand;
    const loaded = await store.load();
    await this.stand.show(movingRole(this.ground, { shown, store, claim, loaded, migration: () => this.present }));
  }

  private async sitDown(before: Seat, { ground, etcd }: Place): Promise<void> {
    this.ground = ground;
    const parts = { ground, stand: this.stand, mover: this };
    const next = await (etcd === undefined ? openLoneSeat(parts) : openSharedSeat({ ...parts, etcd }));
    this.seat = next;
    this.tell(next);
    await leads(next);
    await before.letGo();
  }

  private async goBack(seat: Seat, { move, place, hasLeft }: { move: StoreMove; place: Place; hasLeft: boolean }): Promise<void> {
    await move.cancel();
    await place.target.close();
    await place.etcd?.close();
    if (!hasLeft) return;
    const next = await seat.again();
    this.seat = next;
    this.tell(next);
  }

  private async openPlace({ to, ...named }: MigrationRequest, { claim }: Led): Promise<Place> {
    const { config, folders, clock, log } = this.ground;
    const { endpoints = config.store.endpoints, ...files } = named;
    const store = { ...config.store, ...files, endpoints, kind: to };
    const ground = { ...this.ground, config: { ...config, store } };
    const decide = (): Promise<void> => saveConfig(folders.home, { store: { kind: to, ...named } }).then(() => undefined);
    if (to === "sqlite") return { target: await openSqliteTarget(folders.database, log), ground, decide };
    const etcd = await openSharedEtcd(ground, this.stand);
    try {
      const target = await openEtcdTarget({ client: etcd.client, prefix: store.prefix, cluster: claim.cluster, clock, log });
      return { target, etcd, ground, decide };
    } catch (error) {
      await etcd.close();
      throw error;
    }
  }

  private failed(error: unknown): void {
    const [code, detail] = error instanceof ClusterError ? [error.code, error.detail] : ["internal" as ErrorCode, "The log has the cause."];
    this.at({ phase: "failed", error: { code, detail }, endedAt: this.ground.clock.wall() });
  }

  private at(change: Partial<Migration>): void {
    if (this.present !== undefined) this.present = { ...this.present, ...change };
  }
}

function isShown(phase: string): phase is Migration["phase"] {
  return ["copying", "comparing", "following", "switching"].includes(phase);
}

async function leads(seat: Seat): Promise<void> {
  const giveUpAt = performance.now() + LEADS_MS_MAX;
  while (seat.led === undefined) {
    if (performance.now() > giveUpAt) throw new ClusterError("unavailable", "This machine does not lead over the store that was moved.");
    await new Promise((wake) => setTimeout(wake, LOOK_MS));
  }
}
