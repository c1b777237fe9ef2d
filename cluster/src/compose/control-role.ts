/** Opens a control node: what stays (control-stand.ts), and the seat over the store that its settings name; another seat when that is moved. */
import type { Subscription } from "../bus/bus.ts";
import { ControlStand } from "./control-stand.ts";
import type { Ground } from "./ground.ts";
import { openLoneSeat } from "./lone-seat.ts";
import type { LeadRole, Seat } from "./seat.ts";
import { openSharedEtcd } from "./shared-etcd.ts";
import { openSharedSeat } from "./shared-seat.ts";
import { Mover } from "./store-mover.ts";

export async function openControlRole(ground: Ground, open: (() => Promise<void>)[]): Promise<LeadRole> {
  const stand = await ControlStand.open(ground);
  open.push(() => stand.close());
  const mover = new Mover(ground, stand);
  const seat = await firstSeat(ground, stand, mover);
  const seats = new PresentSeat(seat);
  mover.sits(seat, (next) => seats.change(next));
  open.push(() => seats.close());
  return {
    apiUrl: stand.apiUrl,
    trust: stand.shown.trust,
    enrolOwn: (publicKey) => seats.present.enrolOwn(publicKey),
    controlUrls: () => seats.present.controlUrls(),
    busUrlsChange: (listener) => seats.onBusUrls(listener),
  };
}

async function firstSeat(ground: Ground, stand: ControlStand, mover: Mover): Promise<Seat> {
  if (ground.config.store.kind === "sqlite") return openLoneSeat({ ground, stand, mover });
  return openSharedSeat({ ground, stand, mover, etcd: await openSharedEtcd(ground, stand) });
}

/** Whose listeners go along when another seat is taken. */
class PresentSeat {
  present: Seat;
  private readonly listeners = new Map<(urls: readonly string[]) => void, Subscription>();

  constructor(seat: Seat) {
    this.present = seat;
  }

  change(seat: Seat): void {
    this.present = seat;
    for (const [listener, subscription] of this.listeners) {
      subscription.stop();
      this.listeners.set(listener, seat.onBusUrls(listener));
    }
  }

  onBusUrls(listener: (urls: readonly string[]) => void): Subscription {
    this.listeners.set(listener, this.present.onBusUrls(listener));
    return {
      stop: () => {
        this.listeners.get(listener)?.stop();
        this.listeners.delete(listener);
      },
    };
  }

  close(): Promise<void> {
    return this.present.close();
  }
}
