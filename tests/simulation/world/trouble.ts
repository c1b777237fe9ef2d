/** What goes wrong in a simulated cluster: one of the acts (acts.ts and those of head or council) at a random moment, to random parties, for a random time. */
import type { Chance } from "./chance.ts";
import type { Front } from "./front.ts";
import type { Machine } from "./machine.ts";
import type { VirtualTime } from "./time.ts";
import type { Weather } from "./weather.ts";

/** From one trouble to the next; they last longer than that, so they meet. */
const PAUSE_MS = [500, 7_000] as const;
/** Where one trouble is to take its course. */
const SPARSE_PAUSE_MS = [500, 60_000] as const;
/** A half-open link is noticed by pings after this (nats-config.ts). */
const NOTICED_MS = [4_000, 7_000] as const;
const RECONNECT_MS = [50, 2_000] as const;

export interface TroubleParts {
  readonly time: VirtualTime;
  readonly chance: Chance;
  readonly weather: Weather;
  readonly front: Front;
  readonly machines: readonly Machine[];
  readonly acts: readonly [Act, ...Act[]];
  readonly sparse: boolean;
  /** Would nats-server let it in? */
  admits(machine: Machine): boolean;
  note(text: string): void;
}

export type Act = (trouble: Trouble) => Promise<void> | void;

export class Trouble {
  readonly parts: TroubleParts;
  private over = false;

  constructor(parts: TroubleParts) {
    this.parts = parts;
  }

  begin(): void {
    void this.strike();
  }

  /** Everything is mended, and nothing more happens. */
  end(): void {
    const { weather, front, machines } = this.parts;
    this.over = true;
    weather.calm();
    for (const machine of machines) {
      machine.skew.ms = 0;
      machine.isFull = false;
      this.mendLink(machine);
      machine.life?.clock.goOn();
      machine.start();
    }
    front.mend();
  }

  /** A bus is up again, or gone: every worker notices at once, because the connection is closed or refused. */
  busIs(up: boolean): void {
    for (const machine of this.parts.machines) {
      if (!up) machine.life?.link.set(false);
      else this.reconnect(machine);
    }
  }

  private async strike(): Promise<void> {
    const { time, chance, acts, sparse } = this.parts;
    const [low, high] = sparse ? SPARSE_PAUSE_MS : PAUSE_MS;
    for (;;) {
      await time.passes(chance.between(low, high));
      if (this.over) return;
      void chance.pick(acts)(this);
    }
  }

  get anyMachine(): Machine {
    return this.parts.chance.pick(this.parts.machines as [Machine, ...Machine[]]);
  }

  /** The one that has most to lose. */
  get busiest(): Machine {
    const [first, ...others] = this.parts.machines as [Machine, ...Machine[]];
    const running = ({ life }: Machine): number => life?.worker?.running ?? 0;
    return others.reduce((most, one) => (running(one) > running(most) ? one : most), first);
  }

  /** Short or long: around the time-outs in both directions. */
  lasts(): Promise<void> {
    const { chance, time } = this.parts;
    return time.passes(chance.pick([chance.between(100, 3_000), chance.between(3_000, 14_000), chance.between(14_000, 40_000), 70_000]));
  }

  async cutLink(machine: Machine, direction: "to" | "from" | "both", over: Promise<void> = this.lasts()): Promise<void> {
    const { weather, chance, time, note } = this.parts;
    note(`${machine.id} is cut off (${direction})`);
    weather.cutOff(machine.id, direction);
    void time.passes(chance.between(...NOTICED_MS)).then(() => {
      if (weather.isCut(machine.id)) machine.life?.link.set(false);
    });
    await over;
    this.mendLink(machine);
  }

  mendLink(machine: Machine): void {
    const { weather, note } = this.parts;
    if (!weather.isCut(machine.id)) return;
    note(`${machine.id} is connected again`);
    weather.mend(machine.id);
    this.reconnect(machine);
  }

  reconnect(machine: Machine): void {
    const { time, chance, weather, front, admits } = this.parts;
    void time.passes(chance.between(...RECONNECT_MS)).then(() => {
      const link = machine.life?.link;
      if (link === undefined || link.connected || weather.isCut(machine.id)) return;
      if (!front.takes(machine.id)) return;
      if (admits(machine)) link.set(true);
      else this.reconnect(machine);
    });
  }
}
