/** Dead letters in groups: what so many tasks failed of, instead of so many tasks. Looks at a bounded number, newest first. */
import type { DeadGroup, DeadPage } from "@openclaw-cluster/contract/bulk";
import { taskId } from "@openclaw-cluster/contract/ids";
import { LIMITS } from "@openclaw-cluster/contract/limits";
import { fingerprint, stablePart } from "../core/failure.ts";
import { nodeOf, type TaskRecord } from "../core/task.ts";
import type { Store } from "../store/store.ts";
import type { Clock } from "../system/clock.ts";

const EXAMPLES_MAX = 5;
const NODES_MAX = 5;
/** Of one call, where few dead letters are the owner's who is asked for: most come back short, or empty. */
const PAGES_MAX = 40;

type Group = { -readonly [Field in keyof DeadGroup]: DeadGroup[Field] };

export async function groupDeadLetters(
  { store, clock }: { store: Pick<Store, "list">; clock: Clock },
  page: { before?: number; owner?: string },
): Promise<DeadPage> {
  const groups = new Map<string, Group>();
  let looked = 0;
  let { before } = page;
  const filter = { dead: true, ...(page.owner !== undefined && { owner: page.owner }) } as const;
  const sofar = (next: number | undefined): DeadPage => ({
    groups: [...groups.values()].sort((a, b) => b.count - a.count),
    tasks: looked,
    ...(next !== undefined && { next }),
  });
  for (let pages = 0; pages < PAGES_MAX && looked < LIMITS.deadTasksMax; pages++) {
    const found = await store.list(filter, { limit: LIMITS.listMax, ...(before !== undefined && { before }) });
    for (const task of found.tasks) {
      // A group more than there is room for begins the next page.
      if (!gather(groups, task)) return sofar(task.key + 1);
      looked += 1;
    }
    before = found.next;
    if (before === undefined) break;
    await new Promise<void>((resolve) => clock.soon(resolve));
  }
  return sofar(before);
}

/** False: it would be one group too many. */
function gather(groups: Map<string, Group>, task: TaskRecord): boolean {
  const { error, endedAt = 0 } = task;
  if (error === undefined) return true;
  const alike = fingerprint(error);
  const known = groups.get(alike);
  if (known === undefined && groups.size === LIMITS.deadGroupsMax) return false;
  const group = known ?? { alike, code: error.code, what: stablePart(error), count: 0, examples: [], nodes: [], lastEndedAt: 0 };
  groups.set(alike, group);
  group.count += 1;
  group.lastEndedAt = Math.max(group.lastEndedAt, endedAt);
  if (group.examples.length < EXAMPLES_MAX) group.examples.push(taskId(task.key));
  const node = nodeOf(task);
  if (node !== undefined && group.nodes.length < NODES_MAX && !group.nodes.includes(node)) group.nodes.push(node);
  return true;
}
