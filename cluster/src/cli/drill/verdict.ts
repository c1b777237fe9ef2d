/**
 * The judgement on a loss: what the events of a drill's tasks show, measured against what is promised. Pure.
 *
 * J1. Times are the coordinator's own, as its events carry them; only the moment of the blow comes from elsewhere.
 * J2. Exactly once: each task has one success, and no more.
 */
import type { ClusterEvent, TaskEvent } from "@openclaw-cluster/contract/events";
import type { NodeId, TaskId } from "@openclaw-cluster/contract/ids";

/** From the loss of a node to the start of its tasks elsewhere, by the kind of loss (DESIGN §6). */
export const PROMISED_MS = {
  /** Its process died, or it closed its connection. */
  closed: 1_000,
  /** Its network was cut, its power failed, or it was stopped. */
  silent: 15_000,
  /** The same of a machine labelled laptop=yes: a grace of 60 s for a lid that is opened again, and the time to notice. */
  laptop: 62_000,
} as const;
export type Loss = keyof typeof PROMISED_MS;

export interface Blow {
  readonly node: NodeId;
  /** By the coordinator's clock. */
  readonly at: number;
}

export interface Measured {
  readonly tasks: number;
  readonly succeeded: number;
  /** Held by the node when it was lost. */
  readonly struck: number;
  /** Not succeeded. */
  readonly lost: number;
  readonly acceptedTwice: number;
  /** Of each struck task, in ms from the blow, the longest. */
  readonly takenBackMs?: number;
  readonly startedAgainMs?: number;
  /** From the first event of a task to the last. */
  readonly wholeMs: number;
}

/** What became of one task. */
interface Course {
  attempt: number;
  node?: NodeId | undefined;
  successes: number;
  takenBackAt?: number;
  startedAgainAt?: number;
}

export function measure(events: readonly ClusterEvent[], tasks: ReadonlySet<TaskId>, blow: Blow): Measured {
  const courses = new Map<TaskId, Course>();
  let first = Infinity;
  let last = -Infinity;
  for (const event of events) {
    if (event.type !== "task" || !tasks.has(event.task)) continue;
    first = Math.min(first, event.at);
    last = Math.max(last, event.at);
    const course = courses.get(event.task) ?? { attempt: 0, successes: 0 };
    courses.set(event.task, course);
    if (course.node === blow.node && event.at >= blow.at && isTakenBack(course, event)) course.takenBackAt ??= event.at;
    // A short task may have ended in the same turn that told of its start.
    if (course.takenBackAt !== undefined && (event.state === "running" || event.state === "succeeded")) course.startedAgainAt ??= event.at;
    if (event.state === "succeeded") course.successes += 1;
    course.attempt = event.attempt;
    course.node = event.node;
  }
  const all = [...courses.values()];
  const struck = all.filter(({ takenBackAt }) => takenBackAt !== undefined);
  const succeeded = all.filter(({ successes }) => successes > 0).length;
  return {
    tasks: tasks.size,
    succeeded,
    struck: struck.length,
    lost: tasks.size - succeeded,
    acceptedTwice: all.filter(({ successes }) => successes > 1).length,
    ...longest("takenBackMs", struck, blow.at, ({ takenBackAt }) => takenBackAt),
    ...longest("startedAgainMs", struck, blow.at, ({ startedAgainAt }) => startedAgainAt),
    wholeMs: Math.max(0, last - first),
  };
}

/** What was promised and did not hold; nothing for a pass. */
export function problemsOf({ lost, acceptedTwice, struck, startedAgainMs }: Measured, withinMs: number): string[] {
  const problems: string[] = [];
  if (lost > 0) problems.push(`${count(lost, "task")} did not succeed`);
  if (acceptedTwice > 0) problems.push(`${count(acceptedTwice, "task")} succeeded more than once`);
  if (struck > 0 && startedAgainMs === undefined) problems.push("what was struck did not start again");
  if (startedAgainMs !== undefined && startedAgainMs > withinMs)
    problems.push(`a task started again only after ${startedAgainMs} ms; promised are ${withinMs} ms`);
  return problems;
}

/** Where another node has a free slot, it goes there in the same turn, and the turn's one event tells of that. */
function isTakenBack({ attempt }: Course, event: TaskEvent): boolean {
  return event.reason === "node_lost" || event.attempt > attempt;
}

export function count(amount: number, what: string): string {
  return `${amount} ${what}${amount === 1 ? "" : "s"}`;
}

function longest<Name extends string>(
  name: Name,
  courses: readonly Course[],
  from: number,
  at: (course: Course) => number | undefined,
): { [N in Name]?: number } {
  const times = courses.map(at).filter((time) => time !== undefined);
  return times.length === 0 ? {} : ({ [name]: Math.max(0, Math.max(...times) - from) } as { [N in Name]?: number });
}
