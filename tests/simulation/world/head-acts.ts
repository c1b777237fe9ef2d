/** What may go wrong where one machine leads, with its process and its disk; and with everything else. */
import { allCutOff, clockJumpsAsLeasesEnd, crashMachine, LONG_MS, machineDiskFills, MACHINE_ACTS, storm } from "./acts.ts";
import type { Disk } from "./disk.ts";
import { HEAD, type Head } from "./head.ts";
import type { Act } from "./trouble.ts";

const HOUR_MS = 3_600_000;

export function headActs(head: Head, disk: Disk): readonly [Act, ...Act[]] {
  return [
    ...MACHINE_ACTS,
    ...ends(head),
    isReplaced(head, disk),
    ...isNotHeard(head),
    diskFillsAsNodeStarts(disk),
    storm,
    allCutOff,
    async (trouble) => {
      trouble.parts.note("the disk is full");
      disk.faults.full = 0.7;
      await trouble.lasts();
      disk.faults.full = 0;
    },
    machineDiskFills,
    ({ parts }) => {
      parts.note("the disk fails");
      disk.faults.broken = 1;
      void parts.time.passes(200).then(() => (disk.faults.broken = 0));
    },
    clockJumpsAsLeasesEnd,
    ({ parts, anyMachine }) => {
      const skew = parts.chance.is(0.5) ? head.skew : anyMachine.skew;
      skew.ms += parts.chance.pick([-HOUR_MS, -10_000, 10_000, HOUR_MS]);
      parts.note(`a clock jumps (${skew === head.skew ? HEAD : "a machine"})`);
    },
  ];
}

function ends(head: Head): Act[] {
  return [
    ({ parts }) => {
      parts.note("the coordinator dies");
      head.crashAndRestart();
    },
    ({ parts }) => {
      parts.note("the coordinator restarts");
      return head.restart();
    },
    async (trouble) => {
      const { note, chance } = trouble.parts;
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
  ];
}

/** The first of two coordinators does not know that it was replaced before its next turn. */
function isReplaced(head: Head, disk: Disk): Act {
  return async (trouble) => {
    const { note, chance, time } = trouble.parts;
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
  };
}

function isNotHeard(head: Head): Act[] {
  return [
    // What happens meanwhile the coordinator hears late, and all at once.
    async (trouble) => {
      const { note, chance, time } = trouble.parts;
      const { life } = head;
      note("the coordinator stands still while a node starts again");
      life?.clock.stop("stopped");
      await time.passes(chance.between(0, 2_000));
      void crashMachine(trouble, true, () => time.passes(chance.between(50, 3_000)));
      await time.passes(chance.between(2_000, 6_000));
      life?.clock.goOn();
    },
    async (trouble) => {
      const { time, chance } = trouble.parts;
      const cut = trouble.cutLink(trouble.anyMachine, "both");
      await time.passes(chance.between(0, 3_000));
      await head.restart();
      await cut;
    },
    // Told to go on while there is no coordinator, and then not to be heard by the next one.
    async (trouble) => {
      const { time, chance, note } = trouble.parts;
      note("the coordinator restarts, and the busiest node does not reach its successor");
      await head.restart();
      const machine = trouble.busiest;
      await time.passes(chance.between(0, 400));
      await trouble.cutLink(machine, "both", time.passes(chance.between(...LONG_MS)));
    },
  ];
}

function diskFillsAsNodeStarts(disk: Disk): Act {
  return async (trouble) => {
    const { time, chance, note } = trouble.parts;
    note("the disk is full while a node starts again");
    disk.faults.full = 0.7;
    // Some of what the node begins meanwhile the coordinator cannot keep.
    await time.passes(chance.between(0, 1_500));
    await crashMachine(trouble, chance.is(0.5), () => time.passes(chance.between(50, 1_000)));
    await time.passes(chance.between(500, 5_000));
    disk.faults.full = 0;
  };
}
