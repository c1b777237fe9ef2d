/**
 * What may go wrong in any simulated cluster: with its machines, and on their way to whoever leads. An act may last beyond the next
 * one, and beyond the end of the trouble: what it does last is to mend.
 */
import type { Act, Trouble } from "./trouble.ts";

const HOUR_MS = 3_600_000;
/** Longer than the silence after which a node has lost its leases. */
export const LONG_MS = [14_000, 60_000] as const;
/** From a cut on: nine seconds after the heartbeat that was answered last. */
const LEASE_ENDS_MS = [6_500, 9_000] as const;

/** A machine's process, or its link. */
export const MACHINE_ACTS: readonly [Act, ...Act[]] = [
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
];

export const storm: Act = async (trouble) => {
  trouble.parts.note("a storm");
  trouble.parts.weather.rage();
  trouble.parts.front.loss = 0.2;
  await trouble.lasts();
  trouble.parts.weather.calm();
  trouble.parts.front.loss = 0;
};

export const allCutOff: Act = async (trouble) => {
  trouble.parts.note("all machines are cut off");
  const links = trouble.parts.machines.map((machine) => trouble.cutLink(machine, "both"));
  await Promise.all(links);
};

export const machineDiskFills: Act = async (trouble) => {
  const machine = trouble.anyMachine;
  trouble.parts.note(`the disk of ${machine.id} is full`);
  machine.isFull = true;
  await trouble.lasts();
  machine.isFull = false;
};

export const clockJumpsAsLeasesEnd: Act = async (trouble) => {
  const { time, chance, note } = trouble.parts;
  const machine = trouble.busiest;
  const cut = trouble.cutLink(machine, "both", time.passes(chance.between(...LONG_MS)));
  await time.passes(chance.between(...LEASE_ENDS_MS));
  note(`the clock of ${machine.id} jumps when its leases are nearly over`);
  machine.skew.ms += chance.pick([10_000, HOUR_MS]);
  await cut;
};

export async function crashMachine({ parts, anyMachine: machine }: Trouble, told: boolean, wait: () => Promise<void>): Promise<void> {
  if (machine.life === undefined) return;
  parts.note(`${machine.id} dies${told ? "" : " with its machine"}`);
  machine.crash();
  if (told && !parts.weather.isCut(machine.id)) parts.front.disconnected(machine.id);
  await wait();
  machine.start();
}
