/**
 * The messages between coordinator and worker. All of them may be lost, doubled or late: every one names the attempt it
 * speaks of as (task, attempt, epoch), and the receiver checks that against what it holds.
 *
 * W1. An offer is for one life of a node's daemon. It may come twice; a worker that holds or has finished the attempt answers as before and runs nothing.
 * W2. A report is a request: a finished attempt stays in the worker's spool until the answer of a coordinator that is not
 *     replaced names a verdict on it.
 * W3. The coordinator commits before it answers a report.
 */
import { z } from "zod";
import { NodeId, TaskId } from "./ids.ts";
import { Json } from "./json.ts";
import { NodeFacts, NodeLoad } from "./node.ts";
import { Protocol } from "./protocol.ts";
import { BlobRef, Progress, TaskError } from "./task.ts";
import { Submitter } from "./submitter.ts";
import { TaskSpec } from "./task-spec.ts";

/** Which try of which task, under which coordinator's term. */
export const AttemptRef = z.object({ task: TaskId, attempt: z.int().min(1), epoch: z.int().min(1) });
export type AttemptRef = z.infer<typeof AttemptRef>;

/** As the schema says, by hand: every task passes here twice, and zod makes a copy each time. */
export function isAttemptRef(value: unknown): value is AttemptRef {
  if (typeof value !== "object" || value === null) return false;
  const { task, attempt, epoch } = value as Record<keyof AttemptRef, unknown>;
  return isCount(attempt) && isCount(epoch) && TaskId.safeParse(task).success;
}

/** A list of them; the first that is none ends the looking, however many there are. */
export function areAttemptRefs(value: unknown): value is AttemptRef[] {
  return Array.isArray(value) && value.every(isAttemptRef);
}

function isCount(value: unknown): value is number {
  return Number.isSafeInteger(value) && (value as number) >= 1;
}

/** coordinator → worker, in arrays. `submitter`: so that the node can decide for whom it works. */
export const Offer = AttemptRef.extend({ spec: TaskSpec, submitter: Submitter.optional() });
export type Offer = z.infer<typeof Offer>;
/**
 * `boot`: for which life of the node's daemon they are; another one takes none of them. `heard`: the newest heartbeat of that life
 * that was heard before they were made; they renew leases as its answer does. Answered with nothing: they have arrived.
 */
export const Offers = z.object({ epoch: z.int(), boot: z.int(), heard: z.int().optional(), offers: z.array(Offer) });
export type Offers = z.infer<typeof Offers>;

/**
 * coordinator → worker. `cancel`: stop this attempt, if you hold it. `report`: send a heartbeat and your spool now.
 * `shutdown`: end in good order; `now`: without time for what runs.
 * `pause`: this coordinator goes down in good order; for so many ms nobody gives your leases away, so go on without it.
 */
export const Control = z.discriminatedUnion("kind", [
  z.object({ kind: z.literal("cancel"), epoch: z.int(), attempts: z.array(AttemptRef) }),
  z.object({ kind: z.literal("report"), epoch: z.int() }),
  z.object({ kind: z.literal("shutdown"), epoch: z.int(), now: z.boolean().optional() }),
  z.object({ kind: z.literal("pause"), epoch: z.int(), ms: z.int().min(0).max(600_000) }),
]);
export type Control = z.infer<typeof Control>;

export const Outcome = z.discriminatedUnion("kind", [
  z.object({ kind: z.literal("succeeded"), result: Json.optional(), blob: BlobRef.optional() }),
  z.object({ kind: z.literal("failed"), error: TaskError, retryAfterMs: z.int().min(0).optional() }),
  /**
   * Stopped before its end, and nothing of it goes on. `cause`: nobody asked for that; the node left in good order, or its
   * policy does not allow any more what an earlier life of its daemon began.
   */
  z.object({ kind: z.literal("cancelled"), cause: z.enum(["shutdown", "sleep", "policy"]).optional() }),
  /** Never started: policy, no slot, no such executor, stopping. */
  z.object({ kind: z.literal("refused"), error: TaskError }),
]);
export type Outcome = z.infer<typeof Outcome>;

/** Times by the worker's clock, in ms since 1970. `runMs` by its monotonic clock. */
export const Finished = AttemptRef.extend({
  startedAt: z.int().optional(),
  endedAt: z.int(),
  runMs: z.number().min(0),
  /** An agent turn called a tool, so that a replay could act twice. */
  acted: z.boolean().optional(),
  outcome: Outcome,
});
export type Finished = z.infer<typeof Finished>;

/** What tells a node's messages apart: one that was overtaken on its way must not take back what a later one said. */
const said = {
  /** Counts the starts of this node's daemon. */
  boot: z.int().min(1),
  /** Counts the reports and heartbeats of one life together. */
  n: z.int().min(1),
};

export const Started = AttemptRef.extend({ at: z.int() });
export const Progressed = AttemptRef.extend({ progress: Progress.optional(), acted: z.boolean().optional() });

/** worker → coordinator, one for each turn of the worker's event loop that has news. */
export const Report = z.object({
  ...said,
  started: z.array(Started),
  progressed: z.array(Progressed),
  finished: z.array(Finished),
});
export type Report = z.infer<typeof Report>;

/** accepted: it counts. stale: another attempt or epoch holds the task. unknown: no such task. In the order of `finished`. */
export const Verdict = z.enum(["accepted", "stale", "unknown"]);
export type Verdict = z.infer<typeof Verdict>;
export const ReportReply = z.object({ epoch: z.int().min(1), verdicts: z.array(Verdict) });
export type ReportReply = z.infer<typeof ReportReply>;

/** How a node leaves in good order: its daemon ends, or its machine goes to sleep. */
export const Goodbye = z.enum(["offline", "asleep"]);
export type Goodbye = z.infer<typeof Goodbye>;

/** worker → coordinator every 2 s, a request. `facts` with the first one and on change. `held`: offered, running or spooled here. */
export const Heartbeat = z.object({
  node: NodeId,
  ...said,
  load: NodeLoad,
  facts: NodeFacts.optional(),
  held: z.array(AttemptRef),
  /** The node is not at work any more. What it does not hold goes back now. */
  goodbye: Goodbye.optional(),
  /** Its leases last by the word of a coordinator that went down in good order (`pause`): no answer has ended that yet. */
  paused: z.boolean().optional(),
  /** Of the coordinator that the node obeys; no word of an earlier one moves it. 0: of none yet. */
  epoch: z.int().min(0).optional(),
});
export type Heartbeat = z.infer<typeof Heartbeat>;

/**
 * The coordinator has heard it. `leaseMs`: every lease of the node is renewed for so long, from the moment in which the
 * heartbeat was sent. `stop`: those of `held` that are not the node's any more, or are being cancelled.
 */
export const HeartbeatReply = z.object({
  epoch: z.int().min(1),
  leaseMs: z.int().min(1).max(600_000),
  stop: z.array(AttemptRef).optional(),
  /** What the coordinator speaks; absent: the first. */
  protocol: Protocol.optional(),
  /** Of where the control nodes and the bus are: where it is another one than before, a session is asked for anew. */
  places: z.string().max(32).optional(),
});
export type HeartbeatReply = z.infer<typeof HeartbeatReply>;

/** One piece of what an attempt says. `text` of an agent, bytes of a command as UTF-8 text; tool events as data. */
export const OutputStream = z.enum(["stdout", "stderr", "assistant", "tool", "note"]);
export type OutputStream = z.infer<typeof OutputStream>;
export const OutputChunk = z.object({
  task: TaskId,
  attempt: z.int().min(1),
  /** Counts the chunks of one attempt from 0. */
  n: z.int().min(0),
  at: z.int(),
  stream: OutputStream,
  text: z.string(),
  data: Json.optional(),
  /** The attempt ended: nothing follows. */
  last: z.boolean().optional(),
});
export type OutputChunk = z.infer<typeof OutputChunk>;

const base64url = z.string().regex(/^[A-Za-z0-9_-]+$/);

/** Of an X25519 key: its SPKI, 44 bytes. */
export const BoxKey = base64url.length(59);

/** A text that only whoever made the key it was sealed for can read (trust/sealed-box.ts). */
export const SealedBox = z.object({ key: BoxKey, nonce: base64url.length(16), box: base64url.max(256 * 1_024) });
export type SealedBox = z.infer<typeof SealedBox>;

/** So many places of the control nodes' APIs are told to one that is none any more. */
export const CONTROL_URLS_MAX = 8;

/**
 * coordinator → node, answered by it. `prepare`: make a key to which what a control node has to know can be sealed. `promote`: here
 * it is; become one. `demote`: be a worker again, of whom those at `urls` are the coordinators.
 */
export const PromotionOrder = z.discriminatedUnion("kind", [
  z.object({ kind: z.literal("prepare") }),
  z.object({ kind: z.literal("promote"), sealed: SealedBox }),
  z.object({ kind: z.literal("demote"), urls: z.array(z.url()).min(1).max(CONTROL_URLS_MAX) }),
]);
export type PromotionOrder = z.infer<typeof PromotionOrder>;

/** `done`: it is on this machine's disk, and its daemon begins anew as what it is now. */
export const PromotionAnswer = z.union([
  z.object({ key: BoxKey }),
  z.object({ done: z.literal(true) }),
  z.object({ refused: z.string().max(1_024) }),
]);
export type PromotionAnswer = z.infer<typeof PromotionAnswer>;
