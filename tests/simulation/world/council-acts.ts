/** What may go wrong where several control nodes contend: with each of them, with their ways to etcd and to the nodes, with etcd itself. */
import { TERM_S } from "../../../cluster/src/store/leadership.ts";
import { allCutOff, clockJumpsAsLeasesEnd, machineDiskFills, MACHINE_ACTS, storm } from "./acts.ts";
import type { ControlNode } from "./control-node.ts";
import type { Council } from "./council.ts";
import { CALM, type LineFaults } from "./etcd-line.ts";
import type { Act, Trouble } from "./trouble.ts";

/** So much likelier than what happens to machines: that has worlds of its own. */
const OWN_SHARE = 3;
const HOUR_MS = 3_600_000;
const TERM_MS = TERM_S * 1_000;
/** Shorter than a term, about one, and longer than what follows it. */
const PAUSES_MS = [
  { low: 50, high: TERM_MS - 1_000 },
  { low: TERM_MS - 1_000, high: TERM_MS + 2_000 },
  { low: TERM_MS + 2_000, high: 40_000 },
] as const;
/** Until another one leads; where none comes, it goes on all the same. */
const WATCHES = 60;
const WATCH_MS = 500;

export function councilActs(council: Council): readonly [Act, ...Act[]] {
  const own = [...ends(council), ...pauses(council), ...ways(council)];
  return [
    ...MACHINE_ACTS,
    storm,
    allCutOff,
    machineDiskFills,
    clockJumpsAsLeasesEnd,
    ...Array.from({ length: OWN_SHARE }, () => own).flat(),
  ];
}

const anyNode = ({ parts }: Trouble, { nodes }: Council): ControlNode => parts.chance.pick(nodes as [ControlNode, ...ControlNode[]]);

/** Whoever leads, mostly. */
function chosen(trouble: Trouble, council: Council): ControlNode {
  return (trouble.parts.chance.is(0.8) ? council.leader : undefined) ?? anyNode(trouble, council);
}

function ends(council: Council): Act[] {
  return [
    (trouble) => {
      const node = chosen(trouble, council);
      trouble.parts.note(`${node.name} dies`);
      node.crashAndRestart();
    },
    // As soon as etcd has taken what it asked for, and before it has heard of that.
    (trouble) => atNext(trouble, council, "dies", (node) => node.crashAndRestart()),
    async (trouble) => {
      const node = chosen(trouble, council);
      trouble.parts.note(`${node.name} dies for a while`);
      node.crash();
      await trouble.lasts();
      node.start();
    },
    (trouble) => {
      const node = chosen(trouble, council);
      trouble.parts.note(`${node.name} hands over`);
      return node.restart();
    },
    ({ parts }) => {
      parts.note("all control nodes die, and start at once");
      const afterMs = parts.chance.between(100, 6_000);
      for (const node of council.nodes) node.crashAndRestart(afterMs);
    },
    // One after the other, as an upgrade does it.
    async ({ parts }) => {
      parts.note("the control nodes restart one after the other");
      for (const node of council.nodes) {
        await node.restart();
        await parts.time.passes(parts.chance.between(0, 4_000));
      }
    },
  ];
}

function pauses(council: Council): Act[] {
  return [
    async (trouble) => {
      const { chance, time, note } = trouble.parts;
      const node = chosen(trouble, council);
      const { life } = node;
      const how = chance.pick(["stopped", "stopped", "asleep"]);
      note(`${node.name} is ${how}`);
      life?.clock.stop(how);
      const { low, high } = chance.pick(PAUSES_MS);
      await time.passes(chance.between(low, high));
      life?.clock.goOn();
    },
    // Within a commit or a claim, until another one leads.
    (trouble) =>
      atNext(trouble, council, "stands still", async (node) => {
        const { life } = node;
        const { time, chance } = trouble.parts;
        life?.clock.stop("stopped");
        await anotherLeads(trouble, council, node);
        await time.passes(chance.between(0, 2_000));
        life?.clock.goOn();
      }),
    // What happens meanwhile it hears late, and all at once.
    async (trouble) => {
      const { chance, time, note } = trouble.parts;
      const node = chosen(trouble, council);
      const { life } = node;
      note(`${node.name} stands still until another one leads, and some more`);
      life?.clock.stop("stopped");
      await anotherLeads(trouble, council, node);
      await time.passes(chance.between(0, 10_000));
      life?.clock.goOn();
    },
    (trouble) => {
      const node = anyNode(trouble, council);
      node.skew.ms += trouble.parts.chance.pick([-HOUR_MS, -10_000, 10_000, HOUR_MS]);
      trouble.parts.note(`the clock of ${node.name} jumps`);
    },
  ];
}

function ways(council: Council): Act[] {
  const faulty =
    (what: string, faults: (trouble: Trouble) => Partial<LineFaults>, choose = chosen): Act =>
    async (trouble) => {
      const node = choose(trouble, council);
      trouble.parts.note(`${node.name}: ${what}`);
      Object.assign(node.line, faults(trouble));
      await trouble.lasts();
      Object.assign(node.line, CALM);
    };
  return [
    faulty("is cut from etcd", () => ({ cut: true })),
    faulty("hears of no change in etcd", () => ({ deaf: true }), anyNode),
    faulty("etcd's answers are lost", ({ parts }) => ({ lostAnswers: parts.chance.between(0.1, 1) })),
    faulty("what it asks of etcd is lost, or held up", ({ parts }) => ({
      lost: parts.chance.between(0, 0.5),
      late: parts.chance.between(0, 0.5),
    })),
    faulty("etcd is slow", ({ parts }) => ({ slowMs: parts.chance.between(50, 4_000) })),
    // What was taken it learns of late, when its lease may be over.
    (trouble) => {
      const { chance, time } = trouble.parts;
      atNext(trouble, council, "hears no answer", async (node) => {
        node.line.lostAnswers = 1;
        await time.passes(chance.between(1_000, 12_000));
        node.line.lostAnswers = 0;
      });
      if (chance.is(0.5)) council.leader?.crashAndRestart();
    },
    // Its goodbye is lost with the lease that it would give back.
    async (trouble) => {
      const node = chosen(trouble, council);
      trouble.parts.note(`${node.name} hands over, and etcd hears nothing of it`);
      const handedOver = node.restart();
      await trouble.parts.time.passes(trouble.parts.chance.between(0, 50));
      node.line.cut = true;
      await Promise.race([handedOver, trouble.lasts()]);
      node.line.cut = false;
    },
    async (trouble) => {
      const { weather, note } = trouble.parts;
      const node = chosen(trouble, council);
      note(`${node.name} is cut from the nodes`);
      weather.cutOff(node.name, trouble.parts.chance.pick(["both", "both", "to", "from"]));
      await trouble.lasts();
      weather.mend(node.name);
    },
    async (trouble) => {
      const { note, chance, time } = trouble.parts;
      const { etcd } = council.parts.etcd;
      note("etcd has no quorum");
      etcd.loseQuorum();
      await (chance.is(0.5) ? time.passes(chance.between(500, 3_000)) : trouble.lasts());
      etcd.findQuorum();
    },
  ];
}

/** When etcd takes the next claim or commit of whoever makes it. */
function atNext(
  { parts: { chance, note } }: Trouble,
  council: Council,
  does: string,
  act: (node: ControlNode) => Promise<void> | void,
): void {
  const awaited = chance.pick(["claim", "commit", "commit"]);
  const { etcd } = council.parts;
  etcd.onTaken = (what, by) => {
    const node = council.nodes.find(({ life }) => life?.clock === by);
    if (what !== awaited || node === undefined) return;
    etcd.onTaken = undefined;
    note(`${node.name} ${does} as its ${what} is taken`);
    void act(node);
  };
}

async function anotherLeads({ parts: { time } }: Trouble, council: Council, than: ControlNode): Promise<void> {
  for (let watches = 0; watches < WATCHES; watches++) {
    const { leader } = council;
    if (leader !== undefined && leader !== than) return;
    await time.passes(WATCH_MS);
  }
}
