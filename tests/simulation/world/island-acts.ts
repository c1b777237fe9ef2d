/**
 * A control node and some machines that are cut off together, and control nodes that are left without a quorum: what is said to nodes then
 * by whoever has lost its lead, or stands by, must not make anything run twice.
 */
import { MACHINE_ACTS } from "./acts.ts";
import type { ControlNode } from "./control-node.ts";
import type { Council } from "./council.ts";
import { CALM } from "./etcd-line.ts";
import type { Act, Trouble } from "./trouble.ts";

/** So much likelier than what happens to machines alone. */
const OWN_SHARE = 3;

export function islandActs(council: Council): readonly [Act, ...Act[]] {
  const cutOff = async (trouble: Trouble, node: ControlNode | undefined): Promise<void> => {
    const { chance, machines, note } = trouble.parts;
    if (node === undefined || council.island.size > 0) return;
    const with_ = machines.filter(() => chance.is(0.35)).map(({ id }) => id);
    note(`${[node.name, ...with_].join(", ")} are cut off together`);
    for (const name of [node.name, ...with_]) council.island.add(name);
    node.line.cut = true;
    await trouble.lasts();
    note("they are connected again");
    council.island.clear();
    Object.assign(node.line, CALM);
  };
  const standby = ({ parts: { chance } }: Trouble): ControlNode | undefined => {
    const [first, ...others] = council.nodes.filter((node) => node !== council.leader && node.life !== undefined);
    return first && chance.pick([first, ...others]);
  };
  const own: readonly Act[] = [
    (trouble) => cutOff(trouble, council.leader),
    (trouble) => cutOff(trouble, council.leader),
    (trouble) => cutOff(trouble, standby(trouble)),
    // And one of those that hear only it dies.
    async (trouble) => {
      const { chance, time, note } = trouble.parts;
      const cut = cutOff(trouble, standby(trouble));
      await time.passes(chance.between(0, 20_000));
      const { busiest } = trouble;
      note(`${busiest.id} dies`);
      busiest.crash();
      await cut;
      busiest.start();
    },
    async (trouble) => {
      const { leader } = council;
      const { etcd } = council.parts.etcd;
      trouble.parts.note(`${leader?.name} dies, and etcd has no quorum`);
      leader?.crash();
      etcd.loseQuorum();
      await trouble.lasts();
      etcd.findQuorum();
      leader?.start();
    },
    async (trouble) => {
      const node = standby(trouble);
      trouble.parts.note(`${node?.name}, which stands by, dies`);
      node?.crash();
      await trouble.lasts();
      node?.start();
    },
    (trouble) => {
      const { leader } = council;
      trouble.parts.note(`${leader?.name} dies`);
      leader?.crashAndRestart();
    },
  ];
  return [...MACHINE_ACTS, ...Array.from({ length: OWN_SHARE }, () => own).flat()];
}
