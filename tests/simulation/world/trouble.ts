/** What goes wrong in a simulated cluster: at random moments, to random parties, for a random time. */
import type { Chance } from "./chance.ts";
import type { Disk } from "./disk.ts";
import { HEAD, type Head } from "./head.ts";
import type { Machine } from "./machine.ts";
import type { VirtualTime } from "./time.ts";
import type { Weather } from "./weather.ts";

/** From one trouble to the next; they last longer than that, so they meet. */
const PAUSE_MS = [500, 7_000] as const;
/** A half-open link is noticed by pings after this (nats-config.ts). */
const NOTICED_MS = [4_000, 7_000] as const;
const RECONNECT_MS = [50, 2_000] as const;
const HOUR_MS = 3_600_000;
/** Longer than the silence after which a node has lost its leases. */
const LONG_MS = [14_000, 60_000] as const;
/** From a cut on: nine seconds after the heartbeat that was answered last. */
const LEASE_ENDS_MS = [6_500, 9_000] as const;

export interface TroubleParts {
  readonly time: VirtualTime;
  readonly chance: Chance;
  readonly weather: Weather;
  readonly head: Head;
  readonly disk: Disk;
  readonly machines: readonly Machine[];
  note(text: string): void;
}

type Act = (trouble: Trouble) => Promise<void> | void;

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
    const { weather, head, disk, machines } = this.parts;
    this.over = true;
    weather.calm();
    head.loss = 0;
    disk.faults.full = disk.faults.broken = 0;
    head.skew.ms = 0;
    for (const machine of machines) {
      machine.skew.ms = 0;
      this.mendLink(machine);
      machine.life?.clock.goOn();
      machine.start();
    }
    head.life?.clock.goOn();
    if (head.life === undefined) head.start();
  }

  /** The head's bus is up again, or gone: every worker notices at once, because the connection is closed or refused. */
  busIs(up: boolean): void {
    for (const machine of this.parts.machines) {
      if (!up) machine.life?.link.set(false);
      else this.reconnect(machine);
    }
  }

  private async strike(): Promise<void> {
    const { time, chance } = this.parts;
    for (;;) {
      await time.passes(chance.between(...PAUSE_MS));
      if (this.over) return;
      void chance.pick(ACTS)(this);
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

  private reconnect(machine: Machine): void {
    const { time, chance, weather, head } = this.parts;
    void time.passes(chance.between(...RECONNECT_MS)).then(() => {
      const link = machine.life?.link;
      if (link !== undefined && !link.connected && !weather.isCut(machine.id) && head.life !== undefined) link.set(true);
    });
  }
}

async function crashMachine({ parts, anyMachine: machine }: Trouble, told: boolean, wait: () => Promise<void>): Promise<void> {
  if (machine.life === undefined) return;
  parts.note(`${machine.id} dies${told ? "" : " with its machine"}`);
  machine.crash();
  if (told && !parts.weather.isCut(machine.id)) parts.head.disconnected(machine.id);
  await wait();
  machine.start();
}

const ACTS: readonly [Act, ...Act[]] = [
  (trouble) => crashMachine(trouble, true, () => trouble.lasts()),
  (trouble) => crashMachine(trouble, true, () => trouble.parts.time.passes(300)),
  (trouble) => crashMachine(trouble, false, () => trouble.lasts()),
  (trouble) => trouble.cutLink(trouble.anyMachine, "both"),
  (trouble) => trouble.cutLink(trouble.anyMachine, trouble.parts.chance.pick(["to", "from"])),
  async (trouble) => {
    const { life, id } = trouble.anyMachine;
    const how = trouble.parts.chance.pick(["stopped", "asleep"]);
    trouble.parts.note(`${id} is ${how}`);
    life?.clock.stop(how);
    await trouble.lasts();
    life?.clock.goOn();
  },
  async (trouble) => {
    const { anyMachine: machine, parts } = trouble;
    parts.note(`${machine.id} goes to sleep, and says so`);
    const wake = await machine.fallAsleep();
    await trouble.lasts();
    parts.note(`${machine.id} wakes`);
    wake();
  },
  ({ anyMachine: machine, parts }) => {
    parts.note(`${machine.id} shuts down`);
    machine.shutDown(20_000);
  },
  ({ parts }) => {
    parts.note("the coordinator dies");
    parts.head.crashAndRestart();
  },
  ({ parts }) => {
    parts.note("the coordinator restarts");
    return parts.head.restart();
  },
  async (trouble) => {
    const { head, note, chance } = trouble.parts;
    const { life } = head;
    note("the coordinator stands still");
    life?.clock.stop(chance.pick(["stopped", "asleep"]));
    // Sometimes somebody starts another one meanwhile.
    if (chance.is(0.3)) {
      await trouble.parts.time.passes(chance.between(100, 5_000));
      if (head.life === life && life !== undefined) head.start();
    }
    await trouble.lasts();
    life?.clock.goOn();
  },
  // Of two coordinators the first does not know that it was replaced until it commits something.
  async (trouble) => {
    const { head, disk, note, chance, time } = trouble.parts;
    const { life } = head;
    if (life === undefined) return;
    note("a second coordinator starts while the first one stands still; a node that was cut off comes back to both");
    const healed = Promise.withResolvers<void>();
    const cut = trouble.cutLink(trouble.anyMachine, "both", healed.promise);
    await time.passes(chance.between(500, 5_000));
    life.clock.stop("stopped");
    await time.passes(chance.between(100, 3_000));
    if (head.life === life) head.start();
    await time.passes(chance.between(100, 2_000));
    healed.resolve();
    await time.passes(chance.between(0, 500));
    disk.faults.full = chance.pick([0, 0.7]);
    life.clock.goOn();
    await time.passes(chance.between(500, 5_000));
    disk.faults.full = 0;
    await cut;
  },
  // What happens meanwhile the coordinator hears late, and all at once.
  async (trouble) => {
    const { head, note, chance, time } = trouble.parts;
    const { life } = head;
    note("the coordinator stands still while a node starts again");
    life?.clock.stop("stopped");
    await time.passes(chance.between(0, 2_000));
    void crashMachine(trouble, true, () => time.passes(chance.between(50, 3_000)));
    await time.passes(chance.between(2_000, 6_000));
    life?.clock.goOn();
  },
  async (trouble) => {
    const { head, time, chance } = trouble.parts;
    const cut = trouble.cutLink(trouble.anyMachine, "both");
    await time.passes(chance.between(0, 3_000));
    await head.restart();
    await cut;
  },
  // Told to go on while there is no coordinator, and then not to be heard by the next one.
  async (trouble) => {
    const { head, time, chance, note } = trouble.parts;
    note("the coordinator restarts, and the busiest node does not reach its successor");
    await head.restart();
    const machine = trouble.busiest;
    await time.passes(chance.between(0, 400));
    await trouble.cutLink(machine, "both", time.passes(chance.between(...LONG_MS)));
  },
  async (trouble) => {
    const { disk, time, chance, note } = trouble.parts;
    note("the disk is full while a node starts again");
    disk.faults.full = 0.7;
    // Some of what the node begins meanwhile the coordinator cannot keep.
    await time.passes(chance.between(0, 1_500));
    await crashMachine(trouble, chance.is(0.5), () => time.passes(chance.between(50, 1_000)));
    await time.passes(chance.between(500, 5_000));
    disk.faults.full = 0;
  },
  async (trouble) => {
    trouble.parts.note("a storm");
    trouble.parts.weather.rage();
    trouble.parts.head.loss = 0.2;
    await trouble.lasts();
    trouble.parts.weather.calm();
    trouble.parts.head.loss = 0;
  },
  async (trouble) => {
    trouble.parts.note("all machines are cut off");
    const links = trouble.parts.machines.map((machine) => trouble.cutLink(machine, "both"));
    await Promise.all(links);
  },
  async (trouble) => {
    trouble.parts.note("the disk is full");
    trouble.parts.disk.faults.full = 0.7;
    await trouble.lasts();
    trouble.parts.disk.faults.full = 0;
  },
  ({ parts }) => {
    parts.note("the disk fails");
    parts.disk.faults.broken = 1;
    void parts.time.passes(200).then(() => (parts.disk.faults.broken = 0));
  },
  async (trouble) => {
    const { time, chance, note } = trouble.parts;
    const machine = trouble.busiest;
    const cut = trouble.cutLink(machine, "both", time.passes(chance.between(...LONG_MS)));
    await time.passes(chance.between(...LEASE_ENDS_MS));
    note(`the clock of ${machine.id} jumps when its leases are nearly over`);
    machine.skew.ms += chance.pick([10_000, HOUR_MS]);
    await cut;
  },
  ({ parts, anyMachine }) => {
    const skew = parts.chance.is(0.5) ? parts.head.skew : anyMachine.skew;
    skew.ms += parts.chance.pick([-HOUR_MS, -10_000, 10_000, HOUR_MS]);
    parts.note(`a clock jumps (${skew === parts.head.skew ? HEAD : "a machine"})`);
  },
];
