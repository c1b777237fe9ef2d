/** Ids as people type them. */
import { ClusterError } from "@openclaw-cluster/contract/errors";
import { NodeId, TaskId } from "@openclaw-cluster/contract/ids";
import { TaskState } from "@openclaw-cluster/contract/task";

/** t42 or 42. */
export function readTaskId(text: string): TaskId {
  const id = TaskId.safeParse(/^\d/.test(text) ? `t${text}` : text);
  if (!id.success) throw new ClusterError("usage", `not a task: ${text}; a task is called t42 or 42`);
  return id.data;
}

export function readTaskState(text: string): TaskState {
  const known = TaskState.safeParse(text);
  if (!known.success) throw new ClusterError("usage", `--state ${text}: say one of ${TaskState.options.join(", ")}`);
  return known.data;
}

export function readNodeId(text: string): NodeId {
  const id = NodeId.safeParse(text);
  if (!id.success) throw new ClusterError("usage", `not a node: ${text}; a node's id has 1 to 32 characters of a-z and 0-9`);
  return id.data;
}

/** `name=value`; the value may hold further equals signs. */
export function readLabel(text: string): [name: string, value: string] {
  const at = text.indexOf("=");
  if (at < 1) throw new ClusterError("usage", `not a label: ${text}; a label is written name=value`);
  return [text.slice(0, at), text.slice(at + 1)];
}

export function readLabels(texts: readonly string[]): Record<string, string> {
  return Object.fromEntries(texts.map(readLabel));
}

/** A whole number from an option. */
export function readCount(text: string, what: string, max: number): number {
  const count = Number(text);
  if (!Number.isInteger(count) || count < 1 || count > max)
    throw new ClusterError("usage", `${what} is a whole number from 1 to ${max}, not ${text}`);
  return count;
}

/** `field=value`, as --set takes it. */
export function readSetting(text: string): readonly [name: string, value: string] {
  const at = text.indexOf("=");
  if (at < 1) throw new ClusterError("usage", `--set ${text}: write field=value, as api.port=9000`);
  return [text.slice(0, at), text.slice(at + 1)];
}
