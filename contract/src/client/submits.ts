/**
 * Turns many submits into few requests: all that one turn of the event loop brings goes out as one POST. One POST for
 * each task costs two thirds of the throughput (measured: 0.33–0.38×), and more than four at once gain nothing.
 *
 * B1. Every POST has an Idempotency-Key of its own, so sending it again after a broken connection makes nothing twice.
 * B2. The server takes a POST whole or not at all; where one spec is at fault the batch is halved until it stands
 *     alone, and its neighbours are made as if it had not been there.
 */
import type { Submitted } from "../task.ts";
import { ClusterError, type ErrorCode } from "../errors.ts";
import { LIMITS } from "../limits.ts";
import type { TaskSpec } from "../task-spec.ts";
import { call, type Line } from "./call.ts";

export const SUBMITS = {
  postsMax: 4,
  /** A character is at most three bytes of UTF-8. */
  bodyCharsMax: Math.floor(LIMITS.bodyBytesMax / 3),
  /** Submits that wait for their POST; more are refused, so that a program that never awaits stays bounded. */
  waitingMax: 200_000,
} as const;

/** Answers that blame what was sent, not who sent it or when. */
const BLAMES_A_SPEC: ReadonlySet<ErrorCode> = new Set<ErrorCode>(["bad_request", "payload_too_large", "idempotency_mismatch"]);

interface Waiting {
  readonly json: string;
  readonly resolve: (submitted: Submitted) => void;
  readonly reject: (error: unknown) => void;
}

export class Submits {
  private readonly line: Line;
  private waiting: Waiting[] = [];
  private due = false;
  private posts = 0;
  private readonly idle: (() => void)[] = [];
  private readonly keyPrefix = randomText();
  private keys = 0;

  constructor(line: Line) {
    this.line = line;
  }

  one(spec: TaskSpec): Promise<Submitted> {
    if (this.waiting.length >= SUBMITS.waitingMax) {
      return Promise.reject(new ClusterError("overloaded", `${SUBMITS.waitingMax} submits wait in this client already.`));
    }
    return new Promise((resolve, reject) => {
      this.waiting.push({ json: JSON.stringify(spec), resolve, reject });
      this.wake();
    });
  }

  /** With the caller's own key, which belongs to one request: so it goes alone. */
  async keyed(spec: TaskSpec, key: string): Promise<Submitted> {
    return (await this.post(JSON.stringify(spec), key)) as Submitted;
  }

  /** In the order of the specs. Each POST of LIMITS.submitTasksMax tasks is made whole or not at all. */
  async many(specs: readonly TaskSpec[]): Promise<Submitted[]> {
    const items = specs.map((spec) => ({ json: JSON.stringify(spec) }));
    const posts: Promise<Submitted[]>[] = [];
    for (let start = 0, end = 0; start < items.length; start = end) {
      end = batchEnd(items, start);
      posts.push(this.postInTurn(items.slice(start, end)));
    }
    return (await Promise.all(posts)).flat();
  }

  private wake(): void {
    if (this.due || this.posts >= SUBMITS.postsMax) return;
    this.due = true;
    this.line.channel.soon(() => {
      this.due = false;
      this.flush();
    });
  }

  private flush(): void {
    const { waiting } = this;
    let start = 0;
    while (start < waiting.length && this.posts < SUBMITS.postsMax) {
      const end = batchEnd(waiting, start);
      this.posts += 1;
      // Every outcome is told to the submits themselves, so this promise cannot reject.
      void this.settle(waiting.slice(start, end)).then(() => this.release());
      start = end;
    }
    this.waiting = waiting.slice(start);
  }

  private release(): void {
    this.posts -= 1;
    const next = this.idle.shift();
    if (next !== undefined) next();
    else if (this.waiting.length > 0) this.wake();
  }

  private async settle(group: readonly Waiting[]): Promise<void> {
    try {
      const submitted = await this.postTasks(group);
      for (const [index, { resolve }] of group.entries()) resolve(submitted[index] as Submitted);
    } catch (error) {
      if (group.length === 1 || !(error instanceof ClusterError) || !BLAMES_A_SPEC.has(error.code)) {
        for (const { reject } of group) reject(error);
        return;
      }
      const middle = group.length >> 1;
      await this.settle(group.slice(0, middle));
      await this.settle(group.slice(middle));
    }
  }

  private async postInTurn(items: readonly { readonly json: string }[]): Promise<Submitted[]> {
    while (this.posts >= SUBMITS.postsMax) await new Promise<void>((resolve) => this.idle.push(resolve));
    this.posts += 1;
    try {
      return await this.postTasks(items);
    } finally {
      this.release();
    }
  }

  private async postTasks(items: readonly { readonly json: string }[]): Promise<Submitted[]> {
    const key = `${this.keyPrefix}-${(this.keys += 1)}`;
    const { tasks } = (await this.post(`{"tasks":[${items.map(({ json }) => json).join(",")}]}`, key)) as { tasks: Submitted[] };
    return tasks;
  }

  private post(body: string, key: string): Promise<unknown> {
    return call(this.line, "POST", "/tasks", { safe: true, body, headers: { "idempotency-key": key } });
  }
}

/** Where the batch that begins at `start` ends, by the limits of one POST. */
function batchEnd(items: readonly { readonly json: string }[], start: number): number {
  let chars = 0;
  let end = start;
  while (end < items.length && end - start < LIMITS.submitTasksMax) {
    chars += (items[end]?.json.length ?? 0) + 1;
    if (chars > SUBMITS.bodyCharsMax && end > start) break;
    end += 1;
  }
  return end;
}

function randomText(): string {
  return Array.from(crypto.getRandomValues(new Uint8Array(16)), (byte) => byte.toString(16).padStart(2, "0")).join("");
}
