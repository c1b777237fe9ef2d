/**
 * Stays with one task until it ends: prints its output as it comes, says why it waits, and leaves it running when the
 * person goes.
 *
 * O1. stdout gets what the task says and nothing else; tool calls, notes and our own words go to stderr.
 * O2. Ctrl-C leaves the task alone: we detach and say how to cancel it.
 */
import type { Client } from "@openclaw-cluster/contract/client/client";
import type { TaskId } from "@openclaw-cluster/contract/ids";
import type { Task } from "@openclaw-cluster/contract/task";
import type { OutputChunk } from "@openclaw-cluster/contract/wire";
import type { Session } from "./session.ts";
import { askingLine, isOver } from "./task-view.ts";
import { plain, plainLine, remark } from "./terminal.ts";

/** The exit code of a command that was interrupted. */
export const INTERRUPTED = 130;

/** A task that has not started by then gets an explanation. */
const PATIENCE_S = 3;
const LOOK_S = 20;
/** Output may trail the end of its task for this long. */
const DRAIN_MS = 5_000;

/** The task as it ended, or undefined when the person went away first. */
export async function stayWith(session: Session, id: TaskId, options: { output: boolean }): Promise<Task | undefined> {
  const client = await session.client();
  const leave = new AbortController();
  const drained = new AbortController();
  const interrupt = session.terminal.onInterrupt(() => leave.abort());
  let drain: NodeJS.Timeout | undefined;
  try {
    const printing = options.output ? printOutput(session, client, id, AbortSignal.any([leave.signal, drained.signal])) : undefined;
    const ending = waitForEnd(session, client, id, leave.signal).then((task) => {
      drain = setTimeout(() => drained.abort(), DRAIN_MS);
      return task;
    });
    const [task] = await Promise.all([ending, printing]);
    return task;
  } catch (error) {
    if (!leave.signal.aborted) throw error;
    remark(session.terminal, `\nleft ${id} running; cancel it: ${session.typed(`cancel ${id}`)}`);
    return undefined;
  } finally {
    leave.abort();
    clearTimeout(drain);
    interrupt.stop();
  }
}

/** Output of a task that is kept or still comes, until its end with `follow`. */
export async function printOutput(
  session: Session,
  client: Client,
  id: TaskId,
  signal: AbortSignal,
  options: { follow: boolean; attempt?: number } = { follow: true },
): Promise<void> {
  const printer = outputPrinter(session);
  try {
    for await (const chunk of client.logs(id, { ...options, signal })) printer.print(chunk);
  } catch (error) {
    if (!signal.aborted) throw error;
  } finally {
    printer.end();
  }
}

async function waitForEnd(session: Session, client: Client, id: TaskId, signal: AbortSignal): Promise<Task> {
  let told: string | undefined;
  for (let waitS = PATIENCE_S; ; waitS = LOOK_S) {
    const task = await client.getTask({ id, wait: waitS }, { signal });
    if (isOver(task)) return task;
    const news = await newsOf(session, client, task);
    // A number that counts down is no news.
    const kind = news?.replaceAll(/\d+/g, "#");
    if (news !== undefined && kind !== told) remark(session.terminal, news);
    told = kind ?? told;
  }
}

async function newsOf(session: Session, client: Client, task: Task): Promise<string | undefined> {
  if (task.state === "waiting") return askingLine(task, session.typed);
  if (task.state === "queued") return `${task.id}: ${plainLine((await client.why({ id: task.id })).sentence)}`;
  return undefined;
}

interface OutputPrinter {
  print(chunk: OutputChunk): void;
  /** Ends the last line of an agent's words, and of anything on a screen. */
  end(): void;
}

function outputPrinter({ terminal, json }: Session): OutputPrinter {
  if (json) return { print: (chunk) => terminal.out(`${JSON.stringify(chunk)}\n`), end: () => {} };
  let attempt: number | undefined;
  let openLine = false;
  const say = (text: string, closeLine: boolean): void => {
    if (text === "") return;
    terminal.out(text);
    openLine = closeLine && !text.endsWith("\n");
  };
  const endLine = (): void => {
    if (openLine) terminal.out("\n");
    openLine = false;
  };
  return {
    print(chunk) {
      if (attempt !== undefined && chunk.attempt !== attempt) remark(terminal, `— attempt ${chunk.attempt} —`);
      attempt = chunk.attempt;
      if (chunk.stream === "assistant") return say(plain(chunk.text), true);
      // A command's bytes stay as they are: colours and progress bars are its own affair.
      if (chunk.stream === "stdout") return say(chunk.text, terminal.columns !== undefined);
      if (chunk.stream === "stderr") return terminal.err(chunk.text);
      if (chunk.text === "" && chunk.data === undefined) return;
      endLine();
      remark(terminal, chunk.stream === "tool" ? `· ${toolLine(chunk)}` : plainLine(chunk.text));
    },
    end: endLine,
  };
}

const TOOL_CHARS_MAX = 160;

function toolLine({ text, data }: OutputChunk): string {
  const line = plainLine(text || JSON.stringify(data ?? ""));
  return line.length > TOOL_CHARS_MAX ? `${line.slice(0, TOOL_CHARS_MAX)}…` : line;
}
