/** Tasks, attempts and results as a person reads them. */
import type { Json } from "@openclaw-cluster/contract/json";
import { TERMINAL, type Attempt, type Task, type TaskError, type TaskState } from "@openclaw-cluster/contract/task";
import type { Session } from "./session.ts";
import { facts, table } from "./table.ts";
import { paint, plain, plainLine, type Style, type Terminal } from "./terminal.ts";
import { age, dayAndTime, duration } from "./time.ts";

const STATE_STYLES: Partial<Record<TaskState, Style>> = {
  running: "cyan",
  leased: "cyan",
  waiting: "yellow",
  cancelling: "yellow",
  succeeded: "green",
  failed: "red",
  cancelled: "dim",
};

export const stateStyle = (state: TaskState): Style | undefined => STATE_STYLES[state];

export function taskTable(terminal: Terminal, tasks: readonly Task[], now: number): string {
  // Where all are of one, and one's own, there is nothing to tell apart.
  const isMixed = new Set(tasks.map(({ owner }) => owner)).size > 1 || tasks.some(({ hidden }) => hidden);
  return table(terminal, tasks, [
    { title: "ID", value: (task) => task.id },
    { title: "OWNER", value: (task) => (isMixed ? (task.owner ?? "-") : undefined) },
    { title: "STATE", value: (task) => task.state, style: (task) => stateStyle(task.state) },
    { title: "KIND", value: (task) => task.kind },
    { title: "NODE", value: (task) => task.node ?? "-" },
    { title: "AGE", value: (task) => age(task.createdAt, now), right: true },
    { title: "TOOK", value: (task) => took(task, now) ?? "-", right: true },
    { title: "NAME", value: title, cut: true },
  ]);
}

/** Its name, else what it was asked to do. */
export const title = (task: Task): string => task.name ?? asked(task);

function asked({ spec }: Task): string {
  if (!("input" in spec)) return "";
  switch (spec.kind) {
    case "agent":
      return spec.input.message;
    case "command":
      return spec.input.argv.join(" ");
    case "tool":
      return spec.input.tool;
    case "model": {
      const { prompt, messages, embed } = spec.input;
      return prompt ?? messages?.at(-1)?.content ?? (typeof embed === "string" ? embed : `${embed?.length ?? 0} texts to embed`);
    }
    case "echo":
      return "";
  }
}

export const errorText = ({ message, code }: TaskError): string => `${plainLine(message).replace(/\.$/, "")} (${code})`;

/** How long it ran, or has been running. */
export function took(task: Task, now: number): string | undefined {
  if (task.startedAt === undefined) return undefined;
  return duration((task.endedAt ?? now) - task.startedAt);
}

/** What a person can answer to a task that waits for one. `typed` gives a command as it works where this one was typed. */
const answers = ({ id }: Task, typed: Session["typed"]): [name: string, value: string][] => [
  ["your turn", `${typed(`answer ${id} retry`)} (runs it again; what it did may be done twice)`],
  ["", `${typed(`answer ${id} fail`)} (gives it up)`],
];

export const askingLine = ({ id }: Task, typed: Session["typed"]): string =>
  `${id} waits for a person: ${typed(`answer ${id} retry|fail`)}; what happened: ${typed(`show ${id}`)}`;

export function taskFacts({ terminal, typed }: Session, task: Task, attempts: readonly Attempt[], now: number): string {
  const { state } = task;
  const style = stateStyle(state);
  const head = facts(terminal, [
    ["task", task.id],
    ["name", task.name && plainLine(task.name)],
    ["owner", task.owner && plainLine(task.owner)],
    ["kind", task.kind],
    ["asks", plainLine(asked(task))],
    ["hidden", task.hidden && "what it works on, what came of it and why it failed: it is not yours"],
    ["state", `${style === undefined ? state : paint(terminal, style, state)} (${task.reason})`],
    ["node", task.node],
    ["priority", String(task.priority)],
    ["labels", task.spec.labels && labelText(task.spec.labels)],
    ["progress", progressText(task)],
    ["created", dayAndTime(task.createdAt)],
    ["started", task.startedAt === undefined ? undefined : dayAndTime(task.startedAt)],
    ["ended", task.endedAt === undefined ? undefined : dayAndTime(task.endedAt)],
    ["took", took(task, now)],
    ["error", task.error && paint(terminal, "red", errorText(task.error))],
    ...(task.state === "waiting" && task.hidden !== true ? answers(task, typed) : []),
  ]);
  const tries = attempts.length < 2 ? "" : `\n${attemptTable(terminal, attempts)}`;
  const result = task.result === undefined ? "" : `\n${resultText(task.result)}\n`;
  return head + tries + result;
}

function attemptTable(terminal: Terminal, attempts: readonly Attempt[]): string {
  return table(terminal, attempts, [
    { title: "ATTEMPT", value: (attempt) => String(attempt.n), right: true },
    { title: "NODE", value: (attempt) => attempt.node },
    { title: "ENDED AS", value: (attempt) => attempt.outcome ?? attempt.state },
    {
      title: "TOOK",
      value: (attempt) =>
        attempt.startedAt === undefined || attempt.endedAt === undefined ? "-" : duration(attempt.endedAt - attempt.startedAt),
      right: true,
    },
    { title: "ERROR", value: (attempt) => attempt.error && errorText(attempt.error) },
  ]);
}

/** What a task came to: an agent's words as they are, all else as JSON. */
export function resultText(result: Json): string {
  if (typeof result === "string") return plain(result);
  if (typeof result === "object" && result !== null && !Array.isArray(result) && typeof result["text"] === "string")
    return plain(result["text"]);
  return JSON.stringify(result, null, 2);
}

export const labelText = (labels: Readonly<Record<string, string>>): string =>
  Object.entries(labels)
    .map(([name, value]) => plainLine(`${name}=${value}`))
    .join(" ");

/** `t42 succeeded on studio in 3.2s`, or why not. */
export function endLine(task: Task, now: number): string {
  const where = task.node === undefined ? "" : ` on ${task.node}`;
  const time = took(task, now);
  const why = task.error === undefined ? "" : `: ${errorText(task.error)}`;
  return `${task.id} ${task.state}${where}${time === undefined ? "" : ` in ${time}`}${why}`;
}

export const exitOf = (task: Task): number => (task.state === "succeeded" ? 0 : 1);

export const isOver = (task: Task): boolean => TERMINAL.has(task.state);

function progressText({ progress }: Task): string | undefined {
  if (progress === undefined) return undefined;
  const share = progress.fraction === undefined ? "" : `${Math.round(progress.fraction * 100)} % `;
  return plainLine(share + (progress.text ?? ""));
}
