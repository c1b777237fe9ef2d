/**
 * The names of things on the wire. Every id is a branded string, so that a node's id cannot be passed where a task's
 * is wanted. Alphabets are narrow on purpose: ids stand in NATS subjects, file names and URLs, where a dot, a star or
 * a slash would widen what they address.
 */
import { z } from "zod";

/** A machine: `studio`, `nas2`. 1–32 characters of a–z and 0–9. */
export const NodeId = z
  .string()
  .regex(/^[a-z0-9]{1,32}$/, "1 to 32 characters of a-z and 0-9")
  .brand("NodeId");
export type NodeId = z.infer<typeof NodeId>;

/** A task: `t` and its number in the store, counted from 1: `t42`. Numbers grow with time and are never used twice. */
export const TaskId = z
  .string()
  .regex(/^t[1-9][0-9]{0,14}$/, "a task id looks like t42")
  .brand("TaskId");
export type TaskId = z.infer<typeof TaskId>;

/** The number inside a task id; the store's primary key. */
export function taskKey(id: TaskId): number {
  return Number(id.slice(1));
}

export function taskId(key: number): TaskId {
  return `t${key}` as TaskId;
}

/** One coordinator's store, minted once: keeps ids of two clusters apart where they meet, as in a Gateway's run ids. */
export const ClusterId = z
  .string()
  .regex(/^[a-z0-9]{8}$/)
  .brand("ClusterId");
export type ClusterId = z.infer<typeof ClusterId>;
