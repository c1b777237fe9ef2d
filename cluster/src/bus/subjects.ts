/**
 * Every subject on the bus. A node may publish only under `ocx.up`, `ocx.out` and `ocx.blob` with its own id as the next
 * word, and subscribe only under `ocx.down.<its id>` and its own inbox; nats-config.ts turns these into allow-lists.
 */
import { ClusterError } from "@openclaw-cluster/contract/errors";
import type { NodeId, TaskId } from "@openclaw-cluster/contract/ids";

export const offersTo = (node: NodeId): string => `ocx.down.${node}.offers`;
export const controlTo = (node: NodeId): string => `ocx.down.${node}.control`;
/** Where a node is made a control node, or a worker again. */
export const promotionTo = (node: NodeId): string => `ocx.down.${node}.promotion`;
export const reportFrom = (node: NodeId): string => `ocx.up.${node}.report`;
export const heartbeatFrom = (node: NodeId): string => `ocx.up.${node}.heartbeat`;
export const outputOf = (node: NodeId, task: TaskId, attempt: number): string => `ocx.out.${node}.${task}.${attempt}`;

export const ANY_REPORT = "ocx.up.*.report";
export const ANY_HEARTBEAT = "ocx.up.*.heartbeat";

/** The name of an attempt's blob. It starts with its writer, so that the server's allow-lists cover it too. */
export const blobName = (node: NodeId, task: TaskId, attempt: number): string => `${node}.${task}.${attempt}`;
/** Blobs travel in numbered parts, closed by an `end` that says how many there are. */
export function blobPart(name: string, part: number | "end"): string {
  if (!/^[a-z0-9]{1,32}(\.[A-Za-z0-9_-]{1,40}){1,2}$/.test(name))
    throw new ClusterError("bad_request", `${JSON.stringify(name)} is no blob's name`);
  return `ocx.blob.${name}.${part}`;
}

/** What a node's streams take, by the word that only it and the coordinator know (nats-words.ts). */
export const anyOutput = (node: NodeId, word: string): string => `ocx.out.${node}.${word}.>`;
export const anyBlob = (node: NodeId, word: string): string => `ocx.blob.${node}.${word}.>`;
/** Where nats-server keeps what is written under a subject of output or of a blob's part. */
export function keptUnder(subject: string, word: string): string {
  const [ocx, kind, node, ...rest] = subject.split(".");
  return [ocx, kind, node, word, ...rest].join(".");
}
/** Where a node asks for its word. */
export const wordFrom = (node: NodeId): string => `ocx.up.${node}.word`;
export const ANY_WORD = "ocx.up.*.word";

/** What nodes say to the coordinator. */
export const FROM_NODES = "ocx.up.";

/** The node that a message comes from or goes to. */
export function nodeOf(subject: string): NodeId {
  return subject.split(".", 3)[2] as NodeId;
}

/** The node that a message under `ocx.up` or `ocx.out` came from; the server's allow-lists make it trustworthy. */
export function senderOf(subject: string): NodeId {
  return nodeOf(subject);
}

/** Where answers to a node's requests arrive. */
export const inboxOf = (node: NodeId): string => `_INBOX_${node}`;
/** The party that is no node. In capitals, which no node's id can have. */
export const COORDINATOR = "COORDINATOR";
export const COORDINATOR_INBOX = `_INBOX_${COORDINATOR}`;

/** What a node may publish and subscribe to; everything else is refused, but for one answer to what it is asked. */
export function rightsOf(node: NodeId): { publish: readonly string[]; subscribe: readonly string[] } {
  return {
    publish: [`ocx.up.${node}.>`, `ocx.out.${node}.>`, `ocx.blob.${node}.>`],
    subscribe: [`ocx.down.${node}.>`, `${inboxOf(node)}.>`],
  };
}

/** NATS's own rule: `*` stands for one word, `>` at the end for one or more. */
export function subjectFits(subject: string, pattern: string): boolean {
  const words = subject.split(".");
  const wanted = pattern.split(".");
  for (const [i, word] of wanted.entries()) {
    if (word === ">") return words.length > i;
    if (word !== "*" && word !== words[i]) return false;
    if (i >= words.length) return false;
  }
  return words.length === wanted.length;
}
