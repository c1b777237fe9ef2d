/**
 * The answer to "why": one sentence in plain English and every node with what speaks for or against it. Of a waiting
 * task or a plan it is worked out anew, by the same filter and the same scores that `place` uses; of a placed one it is
 * read from what was kept with the decision.
 */
import { taskId } from "@openclaw-cluster/contract/ids";
import type { Candidate, Explanation, RefusedNode, Term } from "@openclaw-cluster/contract/placement";
import type { Strategy } from "@openclaw-cluster/contract/task-spec";
import type { SchedulableNode } from "../node.ts";
import { isTerminal, type TaskRecord } from "../task.ts";
import type { Chooser } from "./choose.ts";
import { count, refusal } from "./filter.ts";
import { busy, fitOf, type Fit, type FitBook } from "./fits.ts";
import type { Asker } from "./member.ts";
import { AHEAD_MAX } from "./order.ts";
import type { Placement } from "./placement.ts";
import { round, type Ranking, type Scene, type Terms } from "./rank.ts";
import type { Roster } from "./roster.ts";
import type { Shape, Shaped } from "./shape.ts";
import { JUDGES } from "./strategy.ts";
import { WEIGHTS } from "./weights.ts";

/** A plan has key 0. */
export type Waiting = Ranking & Shaped & Pick<TaskRecord, "priority" | "queuedAt"> & Partial<Pick<TaskRecord, "state" | "dueAt">>;

export interface Question {
  readonly task: Waiting;
  readonly shape: Shape;
  /** Its place in the order of work. */
  readonly asker: Asker;
  readonly now: number;
  readonly ahead: number | undefined;
  readonly roster: Roster;
  readonly fits: FitBook;
  readonly scene: Scene;
  readonly chooser: Chooser;
}

/** Nodes named in a sentence; the table names them all. */
const NAMED_MAX = 5;

export function explain({ task, shape, asker, now, ahead, roster, fits, scene, chooser }: Question): Explanation {
  const { strategy } = shape;
  const free: Fit[] = [];
  const refused: RefusedNode[] = [];
  for (const member of roster.members) {
    const verdict = refusal(member.node as SchedulableNode, shape) ?? busy(member, shape, asker, fits.penalty(shape, member.id), now);
    if (verdict === undefined) free.push(fitOf(member, shape, roster));
    else refused.push({ node: member.id, ...verdict });
  }
  scene.set(task, shape);
  scene.random = () => 0;
  const candidates = chooser
    .rankAll(free)
    .map(({ fit, score }): Candidate => ({ node: fit.member.id, score: round(score), terms: JUDGES[strategy].terms(scene, fit) }));
  const node = strategy === "random" && candidates.length > 1 ? undefined : candidates[0]?.node;
  const found = { strategy, candidates, refused, ...(node !== undefined && { node }), ...(ahead !== undefined && { ahead }), at: now };
  return { sentence: waitingSentence(task, found), ...found };
}

export function explainPlaced(task: TaskRecord, shape: Shape, roster: Roster): Explanation | undefined {
  const { placement } = task;
  if (placement === undefined) return undefined;
  const { node, strategy, at } = placement;
  const candidates = placement.scored.map(([id, score, terms]): Candidate => ({ node: id, score, terms }));
  const refused = placement.refused.map(([id, code, detail]): RefusedNode => {
    const known = roster.get(id)?.node;
    const present = known && refusal(known, shape);
    return {
      node: id,
      code,
      detail,
      remedy: present?.code === code ? present.remedy : "nothing to do: it was so when the task was placed",
    };
  });
  return { sentence: placedSentence(task, placement, candidates), strategy, node, candidates, refused, at };
}

function placedSentence(task: TaskRecord, { node, strategy, refusedMore, refused }: Placement, candidates: readonly Candidate[]): string {
  if (task.state === "waiting") return `${waitsForAPerson(task)} Last placed on ${node}.`;
  const verb = task.lease !== undefined ? "Runs on" : isTerminal(task.state) ? "Ran on" : "Last ran on";
  const more = refusedMore === undefined ? "" : ` ${count(refusedMore, "more node")} could not take it.`;
  return `${verb} ${node}: ${reason(strategy, candidates, refused.length > 0)}.${more}`;
}

/** Nothing that the scheduler could do would start it. */
function waitsForAPerson({ key, error, acted }: TaskRecord): string {
  const risk = acted ? "the agent had used a tool by then" : "its owner asked not to run it twice unasked (onLost: ask)";
  const id = taskId(key);
  return `Waits for a person, because ${risk}. ${error?.message ?? ""} Answer: openclaw-cluster answer ${id} retry (what it did may be done twice) or openclaw-cluster answer ${id} fail (gives it up).`;
}

type Found = Omit<Explanation, "sentence">;

function waitingSentence(task: Waiting, found: Found): string {
  if (task.state === "scheduled") return `Waits until it is due${dueIn(task.dueAt, found.at)}. ${presentSentence(true, found)}`;
  return presentSentence(task.key === 0, found);
}

function presentSentence(isPlan: boolean, found: Found): string {
  const { strategy, node, candidates, refused, ahead } = found;
  const waits = isPlan ? "Would wait" : "Waits";
  const queue =
    ahead === undefined || ahead === 0
      ? ""
      : `; ${ahead === AHEAD_MAX ? "at least " : ""}${count(ahead, "task")} ${ahead === 1 ? "is" : "are"} ahead`;
  if (candidates.length > 0) {
    const where = node ?? `any of ${candidates.length} nodes`;
    return `${isPlan ? "Would run on" : "Is next for"} ${where}: ${reason(strategy, candidates, refused.length > 0)}${queue}.`;
  }
  if (refused.length === 0) return `${waits}: the cluster has no nodes yet. Start one: openclaw-cluster start.`;
  const busyNodes = refused.filter(({ code }) => code.endsWith("_busy") || code === "penalised");
  if (busyNodes.length === 0) return `${waits}: no node can run it. ${named(refused)}.`;
  const fit = `${count(busyNodes.length, "node")} ${busyNodes.length === 1 ? "fits" : "fit"}`;
  if (busyNodes.every(({ code }) => code === "slots_busy")) {
    return `${waits} for a free slot: ${fit}, ${["", "and it is", "both are"][busyNodes.length] ?? "all are"} full${queue}.`;
  }
  if (busyNodes.every(({ code }) => code === "memory_busy"))
    return `${waits} for memory to be given back: ${fit}, none has enough left${queue}.`;
  return `${waits}: ${fit}, none can take it now${queue}. ${named(busyNodes)}.`;
}

/** Those that could be cured first; a node that the task itself leaves out comes last. */
function named(refused: readonly RefusedNode[]): string {
  const first = [...refused].sort((a, b) => Number(a.code === "not_named") - Number(b.code === "not_named"));
  const parts = first.slice(0, NAMED_MAX).map(({ node, detail, remedy }) => `${node} ${detail} (${remedy})`);
  if (first.length > NAMED_MAX) parts.push(`and ${first.length - NAMED_MAX} more`);
  return parts.join("; ");
}

function dueIn(dueAt: number | undefined, now: number): string {
  return dueAt === undefined ? "" : ` in ${Math.max(0, Math.ceil((dueAt - now) / 1_000))} s`;
}

const STRATEGY_WORDS: Readonly<Record<Exclude<Strategy, "balanced">, string>> = {
  round_robin: "it was chosen least recently",
  least_tasks: "it has the fewest tasks for its size",
  best_fit: "it is the fullest that still has room",
  random: "drawn at random",
  affinity: "it fits the wishes of the task best",
};

const TERM_WORDS: Readonly<Record<Term, string>> = {
  eta: "is expected to be done soonest",
  room: "has more room",
  load: "is less busy",
  affinity: "has the labels it prefers",
  sticky: "ran the last one of its kind",
  spread: "runs fewer of its siblings",
  retry: "has not failed it before",
  scarce: "has no rare skill to keep free",
  trust: "fails less often",
};

/** Why the first of the candidates: for the balanced strategy, the term that puts it furthest ahead of the second. */
function reason(strategy: Strategy, candidates: readonly Candidate[], others: boolean): string {
  const [best, second] = candidates;
  if (best === undefined || second === undefined) return others ? "the only one that fits and has room" : "the only node";
  const among = `best of ${candidates.length}`;
  const term = best.terms.retry !== second.terms.retry ? "retry" : strategy === "balanced" ? decisive(best.terms, second.terms) : undefined;
  if (term !== undefined) return `${among}, it ${TERM_WORDS[term]}`;
  if (strategy === "random" || (strategy !== "balanced" && best.score !== second.score)) return `${among}, ${STRATEGY_WORDS[strategy]}`;
  const equal = Math.max(2, candidates.filter(({ score }) => score === best.score).length);
  return equal === candidates.length ? `${among} that are equal, by lot` : `${among}, by lot among the ${equal} that come first`;
}

function decisive(best: Terms, second: Terms): Term | undefined {
  let most: Term | undefined;
  let lead = 0;
  for (const term of Object.keys(WEIGHTS) as Term[]) {
    const ahead = WEIGHTS[term] * ((best[term] ?? 0) - (second[term] ?? 0));
    if (ahead <= lead) continue;
    lead = ahead;
    most = term;
  }
  return most;
}
