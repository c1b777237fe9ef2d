/**
 * Submits: act one of a task's way. A submit is answered after its commit, and a submit with a known key is answered
 * with the tasks that the key stands for.
 *
 * K1. Same owner, key and body: the same tasks, however often and however late within the time keys are kept.
 * K2. Same owner and key, another body: idempotency_mismatch, and nothing is made.
 * K3. Two submits with one key in the same turn, even in one array, make one task.
 * K4. A key that is not committed answers nobody: who asks with it meanwhile waits for a turn of its own, which comes after.
 */
import { createHash } from "node:crypto";
import { ClusterError } from "@openclaw-cluster/contract/errors";
import { taskId } from "@openclaw-cluster/contract/ids";
import { LIMITS } from "@openclaw-cluster/contract/limits";
import type { Submitted, TaskState } from "@openclaw-cluster/contract/task";
import type { TaskSpec } from "@openclaw-cluster/contract/task-spec";
import { create } from "../core/settle.ts";
import type { Store, SubmitKey } from "../store/store.ts";
import { failpoint } from "../system/failpoint.ts";
import { Admission } from "./admission.ts";
import type { SubmitRequest } from "./coordinator.ts";
import type { State } from "./state.ts";
import type { Turn } from "./turn.ts";

/** Keys of this coordinator's own commits, which need no look into the store; older ones are read from there. */
const RECENT_MAX = 10_000;
const OVERLOADED_RETRY_MS = 1_000;
/** Tasks that wait for one commit together: half a second of work on a slow machine. */
const SPECS_WAITING_MAX = 20_000;

/** What a submit with a key asks for: the key as the store knows it, and the hash of what it stands for. */
interface Asked {
  readonly key: string;
  readonly bodyHash: string;
}

export class Intake {
  readonly admission: Admission;
  private readonly state: State;
  private readonly store: Store;
  private readonly turn: Turn;
  /** Committed ones. */
  private recent = new Map<string, SubmitKey>();
  /** Of the turn that is being applied or committed. */
  private fresh = new Map<string, SubmitKey>();
  private specsWaiting = 0;

  constructor(state: State, store: Store, turn: Turn) {
    this.state = state;
    this.store = store;
    this.turn = turn;
    this.admission = new Admission(state.clock, () => turn.hurry());
  }

  async submit(request: SubmitRequest): Promise<Submitted[]> {
    const count = request.specs.length;
    if (this.specsWaiting + count > SPECS_WAITING_MAX) throw overloaded(`${this.specsWaiting} tasks wait for the next commit.`);
    this.specsWaiting += count;
    try {
      return await this.take(request);
    } finally {
      this.specsWaiting -= count;
    }
  }

  private async take({ owner, token, idempotency, specs }: SubmitRequest): Promise<Submitted[]> {
    const whole = idempotency && { key: `post:${idempotency.key}`, bodyHash: idempotency.bodyHash };
    const known = await this.look(owner, whole);
    if (known !== undefined) return this.replay(known);
    const asked = specs.map((spec) =>
      spec.dedupeKey === undefined ? undefined : { key: `task:${spec.dedupeKey}`, bodyHash: hashOf(spec) },
    );
    await Promise.all(asked.filter((one) => one !== undefined).map((one) => this.look(owner, one)));
    failpoint("submit.asked");
    const answers = await this.turn.run(() => this.apply({ owner, ...(token !== undefined && { token }) }, whole, specs, asked));
    failpoint("submit.committed");
    if (!Array.isArray(answers)) return this.replay(answers);
    const submitted: Submitted[] = [];
    for (const answer of answers) submitted.push(typeof answer === "number" ? this.made(answer) : await this.first(answer));
    return submitted;
  }

  /** Keys accepted in this turn, for the commit. */
  takeKeys(): SubmitKey[] {
    return [...this.fresh.values()];
  }

  /** They are committed now. */
  keysKept(): void {
    for (const key of this.fresh.values()) this.recall(key);
    this.fresh.clear();
  }

  /** After a commit that failed: what this turn remembered is not true. */
  drop(): void {
    this.fresh.clear();
  }

  /** In the turn: everything is looked at again, because another submit may have come first (K3). */
  private apply(
    { owner, token }: Pick<SubmitRequest, "owner" | "token">,
    whole: Asked | undefined,
    specs: readonly TaskSpec[],
    asked: readonly (Asked | undefined)[],
  ): (number | SubmitKey)[] | SubmitKey {
    const earlier = whole && this.remembered(owner, whole);
    if (earlier !== undefined) return earlier;
    const { ledger, clock } = this.state;
    if (ledger.size + specs.length > LIMITS.liveTasksMax) {
      throw overloaded(`${ledger.size} tasks are waiting or running; the limit is ${LIMITS.liveTasksMax}.`);
    }
    // One request goes beyond it at most: a body is small beside it.
    if (ledger.bytes >= LIMITS.liveBytesMax) {
      throw overloaded(`The tasks that wait or run take ${mebi(ledger.bytes)} MiB; the limit is ${mebi(LIMITS.liveBytesMax)}.`);
    }
    const found = asked.map((one) => one && this.remembered(owner, one));
    const now = clock.wall();
    const answers: (number | SubmitKey)[] = [];
    for (const [index, spec] of specs.entries()) {
      const one = asked[index];
      const same = found[index] ?? (one && this.remembered(owner, one));
      if (same !== undefined) {
        answers.push(same);
        continue;
      }
      const key = ledger.lastKey + 1;
      ledger.create(create(key, spec, owner, now, token));
      answers.push(key);
      if (one !== undefined) this.remember({ owner, ...one, runs: [[key, 1]], at: now });
    }
    if (whole !== undefined) this.remember({ owner, ...whole, runs: toRuns(answers), at: now });
    failpoint("submit.applied");
    return answers;
  }

  private async look(owner: string, asked: Asked | undefined): Promise<SubmitKey | undefined> {
    if (asked === undefined) return undefined;
    const known = this.recent.get(nameOf(owner, asked.key)) ?? (await this.store.submitKey(owner, asked.key));
    if (known === undefined) return undefined;
    refuseMismatch(known, asked);
    this.recall(known);
    return known;
  }

  private remembered(owner: string, asked: Asked): SubmitKey | undefined {
    const name = nameOf(owner, asked.key);
    const known = this.fresh.get(name) ?? this.recent.get(name);
    if (known !== undefined) refuseMismatch(known, asked);
    return known;
  }

  private remember(key: SubmitKey): void {
    this.fresh.set(nameOf(key.owner, key.key), key);
  }

  private recall(key: SubmitKey): void {
    this.recent.set(nameOf(key.owner, key.key), key);
    if (this.recent.size > RECENT_MAX) this.recent.delete(this.recent.keys().next().value as string);
  }

  private async replay(known: SubmitKey): Promise<Submitted[]> {
    const keys = known.runs.flatMap(([first, count]) => Array.from({ length: count }, (_, index) => first + index));
    return Promise.all(keys.map((key) => this.found(key)));
  }

  private async first(known: SubmitKey): Promise<Submitted> {
    return (await this.replay(known))[0] as Submitted;
  }

  private made(key: number): Submitted {
    return { id: taskId(key), state: this.state.ledger.get(key)?.state ?? "queued" };
  }

  private async found(key: number): Promise<Submitted> {
    // A task that retention has taken ended long ago; its key goes with the next prune.
    const state: TaskState = this.state.ledger.get(key)?.state ?? (await this.store.task(key))?.state ?? "succeeded";
    return { id: taskId(key), state, replayed: true };
  }
}

/** With its length, so that no owner and key together read like another's. */
const nameOf = (owner: string, key: string): string => `${owner.length} ${owner} ${key}`;

function overloaded(detail: string): ClusterError {
  return new ClusterError("overloaded", detail, { retryAfterMs: OVERLOADED_RETRY_MS });
}

const mebi = (bytes: number): number => Math.round(bytes / 1024 ** 2);

function refuseMismatch(known: SubmitKey, asked: Asked): void {
  if (known.bodyHash === asked.bodyHash) return;
  throw new ClusterError("idempotency_mismatch", `The key ${asked.key.slice(asked.key.indexOf(":") + 1)} was used with another body.`);
}

function hashOf(spec: TaskSpec): string {
  return createHash("sha256").update(JSON.stringify(spec)).digest("base64url");
}

/** Ascending keys as [first, count] runs; a found task is a run of its own. */
function toRuns(answers: readonly (number | SubmitKey)[]): [number, number][] {
  const runs: [number, number][] = [];
  for (const answer of answers) {
    const key = typeof answer === "number" ? answer : (answer.runs[0]?.[0] as number);
    const last = runs.at(-1);
    if (last !== undefined && last[0] + last[1] === key) last[1] += 1;
    else runs.push([key, 1]);
  }
  return runs;
}
