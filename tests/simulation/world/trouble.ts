/** What goes wrong in a simulated cluster: at random moments, to random parties, for a random time. */
import type { Chance } from "./chance.ts";
import type { Disk } from "./disk.ts";
import { HEAD, type Head } from "./head.ts";
import type { Machine } from "./machine.ts";
import type { VirtualTime } from "./time.ts";
import type { Weather } from "./weather.ts";

/** From one trouble to the next; they last longer than that, so they meet. */
const PAUSE_MS = [500, 9_000] as const;
/** A half-open link is noticed by pings after this (nats-config.ts). */
const NOTICED_MS = [4_000, 7_000] as const;
const RECONNECT_MS = [50, 2_000] as const;
const HOUR_MS = 3_600_000;

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
      machine.isFull = false;
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

  /** Short or long: around the time-outs in both directions. */
  lasts(): Promise<void> {
    const { chance, time } = this.parts;
    return time.passes(chance.pick([chance.between(100, 3_000), chance.between(3_000, 14_000), chance.between(14_000, 40_000), 70_000]));
  }

  async cutLink(machine: Machine, direction: "to" | "from" | "both"): Promise<void> {
    const { weather, chance, time, note } = this.parts;
    note(`${machine.id} is cut off (${direction})`);
    weather.cutOff(machine.id, direction);
    void time.passes(chance.between(...NOTICED_MS)).then(() => {
      if (weather.isCut(machine.id)) machine.life?.link.set(false);
    });
    await this.lasts();
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
  async (trouble) => {
    const { disk, time, chance, note } = trouble.parts;
    note("the disk is full while a node starts again");
    disk.faults.full = 0.7;
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
  async (trouble) => {
    const machine = trouble.anyMachine;
    trouble.parts.note(`the disk of ${machine.id} is full`);
    machine.isFull = true;
    await trouble.lasts();
    machine.isFull = false;
  },
  ({ parts }) => {
    parts.note("the disk fails");
    parts.disk.faults.broken = 1;
    void parts.time.passes(200).then(() => (parts.disk.faults.broken = 0));
  },
  ({ parts, anyMachine }) => {
    const skew = parts.chance.is(0.5) ? parts.head.skew : anyMachine.skew;
    skew.ms += parts.chance.pick([-HOUR_MS, -10_000, 10_000, HOUR_MS]);
    parts.note(`a clock jumps (${skew === parts.head.skew ? HEAD : "a machine"})`);
  },
];
