/** What the table of operations refuses for tasks of others is refused here, before a handler sees it (R4 in routes.ts). */
import type { TaskId } from "@openclaw-cluster/contract/ids";
import type { Operation } from "@openclaw-cluster/contract/operation";
import type { Coordinator } from "../coordinator/coordinator.ts";
import { mustSee, type Reader } from "../core/visibility.ts";

/** Throws forbidden for another's task. `params` are those of the operation, checked. */
export type MayUse = (coordinator: Pick<Coordinator, "task">, reader: Reader, params: unknown) => Promise<void>;

/** Whatever is somebody's: tasks, and requests for models. */
const OWNED = ["/tasks/", "/models/requests"];

/** undefined: the operation itself minds whose tasks it tells of, or it tells of none. Throws where the table does not say. */
export function ownership({ path, others, params }: Operation): MayUse | undefined {
  if (others === undefined && OWNED.some((one) => path.startsWith(one)))
    throw new Error(`${path} does not say what becomes of those of others`);
  if (others !== "refused" || params === undefined) return undefined;
  return async (coordinator, reader, its) => {
    // Whose it is never changes, so nothing can come between this look and what follows.
    if (!reader.all) mustSee(reader, await coordinator.task((its as { id: TaskId }).id));
  };
}
