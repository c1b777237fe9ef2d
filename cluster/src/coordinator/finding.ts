/** Lists of tasks, as callers ask for them: what the store can tell apart, and what takes a look at each task's error. */
import { LIMITS } from "@openclaw-cluster/contract/limits";
import { fingerprint } from "../core/failure.ts";
import type { Page, Store } from "../store/store.ts";
import type { TaskQuery } from "./coordinator.ts";

/** As the store's own `list`: a page can be short, even empty, and still have a next one. */
export async function findTasks(
  store: Pick<Store, "list">,
  { alike, ...filter }: TaskQuery,
  page: { before?: number; limit: number },
): Promise<Page> {
  if (alike === undefined) return store.list(filter, page);
  const { tasks, next } = await store.list({ ...filter, dead: true }, { ...page, limit: LIMITS.listMax });
  const found = tasks.filter(({ error }) => error !== undefined && fingerprint(error) === alike);
  const shown = found.slice(0, page.limit);
  const after = shown.length < found.length ? shown.at(-1)?.key : next;
  return { tasks: shown, ...(after !== undefined && { next: after }) };
}
