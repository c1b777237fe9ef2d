/**
 * Who sees what of a task, and who may change it. What a task works on and what came of it is its owner's affair; that it
 * is there, where it runs and how it stands is everybody's who may read tasks.
 *
 * V1. A task belongs to the user for whom the token of its submit spoke, whatever becomes of that token.
 * V2. Its owner, and whoever holds the scope operator, see all of it and may change it. Others see its outline: neither
 *     input, result, error, the progress's words nor output. Nothing that is worked out from those is told to them either:
 *     no explanation, no group of failures, no answer to a filter.
 * V3. An outline names what it shows. A field that nobody thought of is hidden.
 * V4. Who may see it all gets the very object: no copy on the hot path.
 * V5. Of a node's policy, operators see all that the node tells; others what decides where their tasks go: neither lines of rules,
 *     whose arguments and folders can tell of its owner, nor names of its owner's conversations.
 * V6. A request for a model belongs to whoever asked. Others see where it went and why, and not what servers said of it: that can quote it.
 */
import { ClusterError } from "@openclaw-cluster/contract/errors";
import type { ClusterEvent } from "@openclaw-cluster/contract/events";
import type { TaskId } from "@openclaw-cluster/contract/ids";
import type { ModelAttempt, ModelRequestRecord } from "@openclaw-cluster/contract/model-requests";
import type { Node } from "@openclaw-cluster/contract/node";
import { permits, type Scope } from "@openclaw-cluster/contract/scopes";
import type { Attempt, Progress, Task } from "@openclaw-cluster/contract/task";
import { SpecOutline, type TaskSpec } from "@openclaw-cluster/contract/task-spec";

/** Whoever asks, as far as tasks are concerned. */
export interface Reader {
  readonly user: string;
  /** Everybody's tasks are shown, and may be changed where the scope permits that. */
  readonly all: boolean;
}

interface Speaker {
  readonly name: string;
  readonly user?: string;
  readonly scope: Scope;
}

/** Tokens of before there were users have none. */
export const userOf = ({ user, name }: Pick<Speaker, "user" | "name">): string => user ?? name;

export const readerOf = (token: Speaker): Reader => ({ user: userOf(token), all: permits(token.scope, "operator") });

/** An owner whom nobody knows is nobody's match. */
export const sees = (reader: Reader, owner: string | undefined): boolean => reader.all || owner === reader.user;

/** For whom others' tasks are refused; undefined where none are. */
export const onlyOf = ({ all, user }: Reader): string | undefined => (all ? undefined : user);

export function notYours(id: TaskId, owner: string | undefined): ClusterError {
  const whose = owner === undefined || owner === "" ? "to nobody who is still known" : `to ${owner}`;
  return new ClusterError("forbidden", `${id} belongs ${whose}; for tasks of others a token needs the scope operator.`);
}

/** Throws forbidden unless the reader may see all of it. */
export function mustSee(reader: Reader, { id, owner }: Pick<Task, "id" | "owner">): void {
  if (!sees(reader, owner)) throw notYours(id, owner);
}

export function taskFor(reader: Reader, task: Task): Task {
  if (sees(reader, task.owner)) return task;
  const { id, kind, name, owner, state, reason, seq, attempt, node, priority, progress, createdAt, startedAt, endedAt, spec } = task;
  return {
    ...{ id, kind, state, reason, seq, attempt, priority, createdAt },
    ...(name !== undefined && { name }),
    ...(owner !== undefined && { owner }),
    ...(node !== undefined && { node }),
    ...(progress !== undefined && { progress: wordless(progress) }),
    ...(startedAt !== undefined && { startedAt }),
    ...(endedAt !== undefined && { endedAt }),
    hidden: true,
    spec: outlineOf(spec),
  };
}

export function attemptsFor(reader: Reader, owner: string | undefined, attempts: readonly Attempt[]): readonly Attempt[] {
  return sees(reader, owner) ? attempts : attempts.map(({ error: _its, ...attempt }) => attempt);
}

export function eventFor(reader: Reader, event: ClusterEvent): ClusterEvent {
  if (event.type === "node" || event.type === "gap" || sees(reader, event.owner)) return event;
  const { id, at, task, owner } = event;
  const base = { id, at, task, ...(owner !== undefined && { owner }), hidden: true as const };
  if (event.type === "progress") return { ...base, type: "progress", progress: wordless(event.progress) };
  const { state, reason, seq, attempt, node, startedAt } = event;
  return {
    ...base,
    type: "task",
    ...{ state, reason, seq, attempt },
    ...(node !== undefined && { node }),
    ...(startedAt !== undefined && { startedAt }),
  };
}

/** V6. */
export function modelRequestFor(reader: Reader, request: ModelRequestRecord): ModelRequestRecord {
  if (sees(reader, request.user)) return request;
  const { id, at, user, lane, path, name, on, promptTokens, outputTokens, streams, state, candidates, passedOver } = request;
  const { passedOverMore, attempts, refusal, endedAt, waitedMs } = request;
  return {
    ...{ id, at, user, lane, path, name, promptTokens, outputTokens, streams, state, candidates, passedOver, waitedMs },
    ...(on !== undefined && { on }),
    ...(passedOverMore !== undefined && { passedOverMore }),
    attempts: attempts.map(attemptOutline),
    ...(refusal !== undefined && { refusal: { code: refusal.code, message: "" } }),
    ...(endedAt !== undefined && { endedAt }),
    hidden: true,
  };
}

function attemptOutline({ node, endpoint, model, waitedMs, firstTokenMs, tokens, tokensPerS, ending }: ModelAttempt): ModelAttempt {
  return {
    ...{ node, endpoint, model, waitedMs },
    ...(firstTokenMs !== undefined && { firstTokenMs }),
    ...(tokens !== undefined && { tokens }),
    ...(tokensPerS !== undefined && { tokensPerS }),
    ...(ending !== undefined && { ending }),
  };
}

export function nodeFor(reader: Reader, node: Node): Node {
  if (reader.all || node.facts === undefined) return node;
  const { kinds, agents, tools, commands, users, hours } = node.facts.policy;
  const policy = {
    kinds,
    ...(agents !== undefined && { agents }),
    ...(tools !== undefined && { tools }),
    ...(commands !== undefined && { commands }),
    ...(users !== undefined && { users }),
    ...(hours !== undefined && { hours }),
  };
  return { ...node, facts: { ...node.facts, policy } };
}

export function nodesFor(reader: Reader, nodes: readonly Node[]): readonly Node[] {
  return reader.all ? nodes : nodes.map((node) => nodeFor(reader, node));
}

const OUTLINE = Object.keys(SpecOutline.shape) as (keyof SpecOutline)[];

function outlineOf(spec: TaskSpec | SpecOutline): SpecOutline {
  return Object.fromEntries(OUTLINE.filter((field) => spec[field] !== undefined).map((field) => [field, spec[field]])) as SpecOutline;
}

const wordless = ({ fraction }: Progress): Progress => (fraction === undefined ? {} : { fraction });
