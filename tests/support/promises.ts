/**
 * What clients of a cluster were told, and the one checker that holds it against what the API shows afterwards
 * (DESIGN §6). It is asked when nothing is open any more.
 *
 * G1. Nothing that was answered is lost.
 * G2. Every task is in exactly one terminal state, and in the one that was told.
 * G3. Attempts are numbered 1, 2, 3 …; at most one of a task was accepted, and it is the last.
 * G4. A submit that is repeated gives the same task; no key makes two.
 * G5. What may not run again by itself had its effect at most once.
 * G6. What was cancelled is cancelled.
 */
import { existsSync, readFileSync } from "node:fs";
import type { Client } from "@openclaw-cluster/contract/client/client";
import type { TaskId } from "@openclaw-cluster/contract/ids";
import { TERMINAL, type Attempt, type Task, type TaskState } from "@openclaw-cluster/contract/task";
import type { OnLost, TaskSpec } from "@openclaw-cluster/contract/task-spec";

interface Answered {
  readonly spec: TaskSpec;
  readonly id: TaskId;
}

/** So that a page of the largest tasks fits in an answer. */
const PAGE = 100;

export class Promises {
  private readonly answers = new Map<string, Answered>();
  private readonly ends = new Map<TaskId, Set<TaskState>>();
  private readonly effects: { readonly file: string; readonly onLost: OnLost }[] = [];
  private readonly nodes = new Set<string>();
  private epoch = 0;

  get count(): number {
    return this.answers.size;
  }

  submitted(key: string, spec: TaskSpec, id: TaskId): void {
    this.answers.set(key, { spec, id });
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

  /** What was promised and is not so; nothing is what it should find. */
  async broken(client: Client): Promise<string[]> {
    const tasks = await listAll(client);
    const byId = new Map(tasks.map((task) => [task.id, task]));
    const found = [...this.repeated(), ...this.effectsTwice(), ...(await this.nodesLost(client)), ...(await this.epochOf(client))];
    const each = [...this.answers].map(([key, answered]) => this.brokenOf(client, key, answered, byId.get(answered.id)));
    found.push(...(await Promise.all(each)).flat());
    const names = tasks.map(({ name, spec }) => `${spec.labels?.["batch"]}-${name}`).filter((name) => this.answers.has(name));
    for (const name of new Set(names.filter((one, at) => names.indexOf(one) !== at))) found.push(`G4: ${name} made more than one task`);
    return found;
  }

  private async brokenOf(client: Client, key: string, { id, spec }: Answered, task: Task | undefined): Promise<string[]> {
    if (task === undefined) return [`G1: ${id} (${key}) was answered and is gone`];
    const [again, { attempts }] = await Promise.all([client.submit(spec, { idempotencyKey: key }), client.attempts({ id })]);
    const elsewhere = again.id === id ? [] : [`G4: ${key} was ${id}, and is ${again.id} when it is repeated`];
    return [...elsewhere, ...this.wrongEnd(task), ...wrongAttempts(task, attempts), ...wrongResult(task)];
  }

  private repeated(): string[] {
    const ids = [...this.answers.values()].map(({ id }) => id);
    return ids.filter((id, at) => ids.indexOf(id) !== at).map((id) => `G4: ${id} was answered to two keys`);
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
  if (spec.kind !== "echo" || state !== "succeeded" || JSON.stringify(result) === JSON.stringify(spec.input.value)) return [];
  return [`G3: ${id} has the result ${JSON.stringify(result)} instead of ${JSON.stringify(spec.input.value)}`];
}

async function listAll(client: Client): Promise<Task[]> {
  const tasks: Task[] = [];
  for (let cursor: number | undefined, first = true; first || cursor !== undefined; first = false) {
    const page = await client.listTasks({ limit: PAGE, ...(cursor !== undefined && { cursor }) });
    tasks.push(...page.tasks);
    cursor = page.next;
  }
  return tasks;
}
