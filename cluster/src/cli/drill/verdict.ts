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
export interface Course {
  successes: number;
  /** ms from the blow; only where the blow has struck it. */
  takenBackMs?: number;
  startedAgainMs?: number;
}

export function measure(events: readonly ClusterEvent[], tasks: ReadonlySet<TaskId>, blow: Blow): Measured {
  const all = coursesOf(events, tasks, blow);
  const struck = all.filter(({ takenBackMs }) => takenBackMs !== undefined);
  const succeeded = all.filter(({ successes }) => successes > 0).length;
  const times = taskEvents(events, tasks).map(({ at }) => at);
  return {
    tasks: tasks.size,
    succeeded,
    struck: struck.length,
    lost: tasks.size - succeeded,
    acceptedTwice: all.filter(({ successes }) => successes > 1).length,
    ...longest("takenBackMs", struck),
    ...longest("startedAgainMs", struck),
    wholeMs: Math.max(0, (times.at(-1) ?? 0) - (times[0] ?? 0)),
  };
}

/** Of those tasks that events tell of. */
export function coursesOf(events: readonly ClusterEvent[], tasks: ReadonlySet<TaskId>, blow: Blow): Course[] {
  return [...Map.groupBy(taskEvents(events, tasks), ({ task }) => task).values()].map((its) => courseOf(its, blow));
}

function courseOf(events: readonly TaskEvent[], blow: Blow): Course {
  const course: Course = { successes: 0 };
  for (const [at, event] of events.entries()) {
    const before = events[at - 1];
    const sinceMs = event.at - blow.at;
    if (sinceMs >= 0 && before?.node === blow.node && isTakenBack(before, event)) course.takenBackMs ??= sinceMs;
    // A short task may have ended in the same turn that told of its start.
    const works = event.state === "running" || event.state === "succeeded";
    if (course.takenBackMs !== undefined && works) course.startedAgainMs ??= sinceMs;
    if (event.state === "succeeded") course.successes += 1;
  }
  return course;
}

/** What was promised and did not hold; nothing for a pass. */
export function problemsOf(measured: Measured, withinMs: number): string[] {
  const { struck, startedAgainMs } = measured;
  const problems = notOnce(measured);
  if (struck > 0 && startedAgainMs === undefined) problems.push("what was struck did not start again");
  if (startedAgainMs !== undefined && startedAgainMs > withinMs)
    problems.push(`a task started again only after ${startedAgainMs} ms; promised are ${withinMs} ms`);
  return problems;
}

/** What speaks against J2. */
export function notOnce({ lost, acceptedTwice }: Pick<Measured, "lost" | "acceptedTwice">): string[] {
  const problems: string[] = [];
  if (lost > 0) problems.push(`${count(lost, "task")} did not succeed`);
  if (acceptedTwice > 0) problems.push(`${count(acceptedTwice, "task")} succeeded more than once`);
  return problems;
}

/** Where another node has a free slot, it goes there in the same turn, and the turn's one event tells of that. */
function isTakenBack(before: TaskEvent, event: TaskEvent): boolean {
  return event.reason === "node_lost" || event.attempt > before.attempt;
}

function taskEvents(events: readonly ClusterEvent[], tasks: ReadonlySet<TaskId>): TaskEvent[] {
  return events.filter((event) => event.type === "task" && tasks.has(event.task)) as TaskEvent[];
}

export function count(amount: number, what: string): string {
  return `${amount} ${what}${amount === 1 ? "" : "s"}`;
}

function longest<Name extends "takenBackMs" | "startedAgainMs">(name: Name, courses: readonly Course[]): { [N in Name]?: number } {
  const times = courses.map((course) => course[name]).filter((time) => time !== undefined);
  return times.length === 0 ? {} : ({ [name]: Math.max(...times) } as { [N in Name]?: number });
}
