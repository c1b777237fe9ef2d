/**
 * Everything that may go wrong in a simulated cluster. An act may last beyond the next one, and beyond the end of the trouble: what it
 * does last is to mend.
 */
import { HEAD } from "./head.ts";
import type { Act, Trouble } from "./trouble.ts";

const HOUR_MS = 3_600_000;
/** Longer than the silence after which a node has lost its leases. */
const LONG_MS = [14_000, 60_000] as const;
/** From a cut on: nine seconds after the heartbeat that was answered last. */
const LEASE_ENDS_MS = [6_500, 9_000] as const;

export const ACTS: readonly [Act, ...Act[]] = [
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
  // The first of two coordinators does not know that it was replaced before its next turn.
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

async function crashMachine({ parts, anyMachine: machine }: Trouble, told: boolean, wait: () => Promise<void>): Promise<void> {
  if (machine.life === undefined) return;
  parts.note(`${machine.id} dies${told ? "" : " with its machine"}`);
  machine.crash();
  if (told && !parts.weather.isCut(machine.id)) parts.head.disconnected(machine.id);
  await wait();
  machine.start();
}
