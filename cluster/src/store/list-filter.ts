/** Which tasks a list asks for, for stores that look at them one by one. */
import type { TaskSpec } from "@openclaw-cluster/contract/task-spec";
import { isDead, nodeOf, type TaskRecord } from "../core/task.ts";
import type { ListFilter } from "./store.ts";

/** A task, or as much of one as a list looks at. */
export type Listed = Omit<TaskRecord, "spec"> & { readonly spec: Pick<TaskSpec, "kind" | "name" | "user" | "labels"> };

export function fits(task: Listed, { states, kind, node, label, name, user, owner, dead }: ListFilter): boolean {
  return (
    (dead !== true || isDead(task)) &&
    (states === undefined || states.includes(task.state)) &&
    (kind === undefined || task.spec.kind === kind) &&
    (node === undefined || nodeOf(task) === node) &&
    (label === undefined || task.spec.labels?.[label[0]] === label[1]) &&
    (name === undefined || task.spec.name === name) &&
    (user === undefined || task.spec.user === user) &&
    (owner === undefined || task.owner === owner)
  );
}
