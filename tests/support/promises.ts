/**
 * What clients of a cluster were told, and the one checker that holds it against what the API shows afterwards
 * (DESIGN §6). It is asked when nothing is open any more. Wherever real parts meet a fault, this is the judge.
 *
 * G1. Nothing that was answered is lost.
 * G2. Every task is in exactly one terminal state, in the one that was told, and is told of it once.
 * G3. Attempts are numbered 1, 2, 3 …; at most one of a task was accepted, and it is the last.
 * G4. A submit that is repeated gives the same task; no key makes two.
 * G5. What may not run again by itself had its effect at most once.
 * G6. What was cancelled is cancelled.
 */
import { existsSync, readFileSync } from "node:fs";
import type { Client } from "@openclaw-cluster/contract/client/client";
import type { TaskId } from "@openclaw-cluster/contract/ids";
import { TERMINAL, type Attempt, type Task, type TaskState } from "@openclaw-cluster/contract/task";
import { ClusterError } from "@openclaw-cluster/contract/errors";
import type { ClusterEvent } from "@openclaw-cluster/contract/events";
import type { OnLost, TaskSpec } from "@openclaw-cluster/contract/task-spec";
import { endsOf, listen, type Feed } from "./feed.ts";

/** A submit that can be repeated. */
interface Keyed {
  readonly key: string;
  readonly spec: TaskSpec;
}

/** So that a page of the largest tasks fits in an answer. */
const PAGE = 100;

interface Answered {
  readonly id: TaskId;
  readonly keyed?: Keyed;
}

/** A task that has not ended by then counts as one that never does. */
const END_S = 60;

export class Promises {
  private readonly answers: Answered[] = [];
  private readonly ends = new Map<TaskId, Set<TaskState>>();
  private readonly effects: { readonly file: string; readonly onLost: OnLost }[] = [];
  private readonly nodes = new Set<string>();
  private epoch = 0;

  get count(): number {
    return this.answers.length;
  }

  submitted(id: TaskId, keyed?: Keyed): void {
    this.answers.push({ id, ...(keyed !== undefined && { keyed }) });
  }

  cancelled(id: TaskId): true {
    this.ended(id, "cancelled");
    return true;
  }

  ended(id: TaskId, state: TaskState): void {
    const seen = this.ends.get(id) ?? new Set();
    this.ends.set(id, seen.add(state));
  }

  effectIn(file: string, onLost: OnLost): void {
    this.effects.push({ file, onLost });
  }

  enrolled(node: string): void {
    this.nodes.add(node);
  }

  /** What was promised and is not so; nothing is what it should find. `told`: by the feed, since before the first submit. */
  async broken(client: Client, told: readonly ClusterEvent[] = []): Promise<string[]> {
    const tasks = await this.present(client);
    const byId = new Map(tasks.map((task) => [task.id, task]));
    const found = [...this.repeated(), ...this.effectsTwice(), ...(await this.nodesLost(client)), ...(await this.epochOf(client))];
    found.push(...this.endsTwice(told));
    const each = this.answers.map((answered) => this.brokenOf(client, answered, byId.get(answered.id)));
    found.push(...(await Promise.all(each)).flat());
    found.push(...this.madeTwice(tasks));
    return found;
  }

  /** Keys may have made tasks that nobody was told of; without any, the others need not be looked at. */
  private async present(client: Client): Promise<Task[]> {
    if (this.answers.some(({ keyed }) => keyed !== undefined)) return listAll(client);
    const each = this.answers.map(({ id }) => client.getTask({ id }).catch(absent));
    return (await Promise.all(each)).filter((task) => task !== undefined);
  }

  private async brokenOf(client: Client, { id, keyed }: Answered, task: Task | undefined): Promise<string[]> {
    if (task === undefined) return [`G1: ${id} (${keyed?.key ?? "no key"}) was answered and is gone`];
    const [again, { attempts }] = await Promise.all([
      keyed && client.submit(keyed.spec, { idempotencyKey: keyed.key }),
      client.attempts({ id }),
    ]);
    const elsewhere = (again?.id ?? id) === id ? [] : [`G4: ${keyed?.key} was ${id}, and is ${again?.id} when it is repeated`];
    return [...elsewhere, ...this.wrongEnd(task), ...wrongAttempts(task, attempts), ...wrongResult(task)];
  }

  private repeated(): string[] {
    const ids = this.answers.map(({ id }) => id);
    return ids.filter((id, at) => ids.indexOf(id) !== at).map((id) => `G4: ${id} was answered to two submits`);
  }

  /** Every key stands in its task too: as its label `batch` and its name (mixed-load.ts). */
  private madeTwice(tasks: readonly Task[]): string[] {
    const keys = new Set(this.answers.map(({ keyed }) => keyed?.key));
    const made = tasks.map(({ name, spec }) => `${spec.labels?.["batch"]}-${name}`).filter((key) => keys.has(key));
    return [...new Set(made.filter((one, at) => made.indexOf(one) !== at))].map((key) => `G4: ${key} made more than one task`);
  }

  private endsTwice(told: readonly ClusterEvent[]): string[] {
    const ends = endsOf(told);
    return this.answers.flatMap(({ id }) => {
      const its = ends.get(id) ?? [];
      for (const state of its) this.ended(id, state);
      return its.length > 1 ? [`G2: ${id} was told to end ${its.length} times: ${its.join(", ")}`] : [];
    });
  }

  private effectsTwice(): string[] {
    return this.effects.flatMap(({ file, onLost }) => {
      const times = existsSync(file) ? readFileSync(file, "utf8").split("\n").length - 1 : 0;
      return onLost !== "retry" && times > 1 ? [`G5: ${file} (onLost ${onLost}) ran ${times} times`] : [];
    });
  }

  private async nodesLost(client: Client): Promise<string[]> {
    const known = new Set((await client.nodes()).nodes.map(({ id }) => id as string));
    return [...this.nodes].filter((node) => !known.has(node)).map((node) => `G1: ${node} was let in and is gone`);
  }

  /** I7. */
  private async epochOf(client: Client): Promise<string[]> {
    const { epoch } = await client.cluster();
    const found = epoch < this.epoch ? [`I7: the epoch was ${this.epoch} and is ${epoch}`] : [];
    this.epoch = epoch;
    return found;
  }

  private wrongEnd({ id, state }: Task): string[] {
    if (!TERMINAL.has(state)) return [`G2: ${id} is ${state}`];
    const told = [...(this.ends.get(id) ?? [])].filter((one) => one !== state);
    this.ended(id, state);
    return told.map((one) => `G2: ${id} was told to be ${one} and is ${state}`);
  }
}

function wrongAttempts({ id, state, attempt }: Task, attempts: readonly Attempt[]): string[] {
  const found: string[] = [];
  const numbers = attempts.map(({ n }) => n);
  if (numbers.some((n, at) => n !== at + 1) || (numbers.at(-1) ?? 0) !== attempt)
    found.push(`G3: ${id} has attempts ${numbers.join(", ")} of ${attempt}`);
  const accepted = attempts.filter(({ outcome }) => outcome === "succeeded");
  if (accepted.length > 1 || (accepted[0] !== undefined && accepted[0].n !== attempt))
    found.push(`G3: ${id} has ${accepted.length} accepted attempts, the first of them is ${accepted[0]?.n} of ${attempt}`);
  if ((state === "succeeded") !== (accepted.length === 1)) found.push(`G3: ${id} is ${state} with ${accepted.length} accepted attempts`);
  return found;
}

/** An echo gives back what it got; anything else would be another task's result. */
function wrongResult({ id, state, result, spec }: Task): string[] {
  if (
    spec.kind !== "echo" ||
    !("input" in spec) ||
    state !== "succeeded" ||
    JSON.stringify(result ?? null) === JSON.stringify(spec.input.value ?? null)
  )
    return [];
  return [`G3: ${id} has the result ${JSON.stringify(result)} instead of ${JSON.stringify(spec.input.value)}`];
}

function absent(error: unknown): undefined {
  if (error instanceof ClusterError && error.code === "not_found") return undefined;
  throw error;
}

/** Every page of the list; `label` as the operation takes it. */
export async function listAll(client: Client, label?: string): Promise<Task[]> {
  const tasks: Task[] = [];
  for (let cursor: number | undefined, first = true; first || cursor !== undefined; first = false) {
    const page = await client.listTasks({
      limit: PAGE,
      ...(label !== undefined && { label }),
      ...(cursor !== undefined && { cursor }),
    });
    tasks.push(...page.tasks);
    cursor = page.next;
  }
  return tasks;
}

export interface Watch extends Pick<Feed, "events" | "open"> {
  /** Waits for each task's end, and for the news of it; then the watch is over. What was promised of them and is not so. */
  broken(tasks: readonly TaskId[]): Promise<string[]>;
}

/** Listens while a fault is at work, and judges what became of the tasks. For a coordinator that stays up: its feed ends with it. */
export function watchTasks(client: Client): Watch {
  const feed = listen(client);
  return {
    events: feed.events,
    open: () => feed.open(),
    async broken(tasks) {
      const promises = new Promises();
      for (const id of tasks) {
        promises.submitted(id);
        await client.getTask({ id, wait: END_S });
      }
      await feed.hearOut();
      await feed.end();
      return promises.broken(client, feed.events);
    },
  };
}
