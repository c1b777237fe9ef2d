/**
 * The work of a soak: a mix of everything that clients do, by chance from a seed. Each task goes with the end that it must
 * have; the choices are the seed's, the moments are the machine's.
 *
 * L1. What was submitted is remembered from its answer on, whatever else fails.
 * L2. `run` leaves nothing behind that still sends or reads.
 */
import { request } from "node:http";
import { setTimeout as pause } from "node:timers/promises";
import type { Client } from "@openclaw-cluster/contract/client/client";
import { ClusterError } from "@openclaw-cluster/contract/errors";
import type { TaskId } from "@openclaw-cluster/contract/ids";
import type { TaskState } from "@openclaw-cluster/contract/task";
import type { TaskSpec } from "@openclaw-cluster/contract/task-spec";
import type { TestCluster } from "../../tests/support/daemon.ts";
import type { Chance } from "../../tests/simulation/world/chance.ts";

/** What the workers' policy must allow. */
export const SOAK_POLICY = { allow: { echo: true, commands: [["sh", "-c", "*"]] } };

/** Between two steps: three a second on average. */
const STEP_MS_MAX = 650;
const ECHO_ARRAY_MAX = 30;
const ECHO_MS_MAX = 200;
const COMMAND_S_MAX = 2;
const LATER_MS_MAX = 3_000;
/** Of work that is to be cancelled: it must not end by itself before. */
const ENDLESS_S = 600;
const CANCEL_AFTER_MS_MAX = 1_500;
const TALK_BYTES = [100_000, 1_500_000] as const;
const BACKOFF_MS = 100;
/** A slow reader takes a piece now and then; a stalled one nothing at all, until it goes away. */
const SLOW_PIECE_MS_MAX = 80;
const STALL_MS = 8_000;
/** A reader of a task that waits for a lost node gives up after this. */
const READ_MS_MAX = 45_000;

/**
 * Submits before the soak begins, each by itself and with a key: as many as fill what a coordinator keeps up to a limit. Those are
 * the newest 10,000 keys (coordinator/intake.ts), 8,192 events, and 16 MiB of the database's pages, which these make.
 */
const RUN_IN_SUBMITS = 12_000;
const RUN_IN_CHARS = 1_500;
const RUN_IN_AT_ONCE = 16;

export async function runIn(client: Client): Promise<void> {
  let next = 0;
  const takeTurns = async (): Promise<void> => {
    while (next < RUN_IN_SUBMITS) {
      const spec: TaskSpec = { kind: "echo", input: { value: "x".repeat(RUN_IN_CHARS) } };
      await client.submit(spec, { idempotencyKey: `run-in-${next++}` });
    }
  };
  await Promise.all(Array.from({ length: RUN_IN_AT_ONCE }, takeTurns));
}

type Step = (this: Load) => Promise<unknown>;

export class Load {
  /** Every task that was answered, with the end that it must have. */
  readonly sent = new Map<TaskId, TaskState>();
  /** Promises that were broken while it was sent. */
  readonly broken: string[] = [];
  private readonly cluster: TestCluster;
  private readonly chance: Chance;

  constructor(cluster: TestCluster, chance: Chance) {
    this.cluster = cluster;
    this.chance = chance;
  }

  /** For so long, or until the signal; then until its readers and cancels are done. */
  async run(ms: number, signal: AbortSignal): Promise<void> {
    const until = performance.now() + ms;
    const under: Promise<unknown>[] = [];
    while (performance.now() < until && !signal.aborted) {
      under.push(this.chance.pick(STEPS).call(this));
      await pause(this.chance.between(0, STEP_MS_MAX));
    }
    await Promise.all(under);
  }

  async echoes(): Promise<void> {
    const count = this.chance.whole(1, ECHO_ARRAY_MAX);
    const specs = Array.from({ length: count }, (_, n): TaskSpec => {
      const delayMs = this.chance.is(0.5) ? this.chance.whole(0, ECHO_MS_MAX) : 0;
      return {
        kind: "echo",
        input: { value: { n, text: "x".repeat(this.chance.whole(0, 300)) }, delayMs },
        priority: this.chance.whole(0, 9),
      };
    });
    for (const { id } of await this.cluster.client.submitMany(specs)) this.sent.set(id, "succeeded");
  }

  async command(): Promise<void> {
    const seconds = (this.chance.next() * COMMAND_S_MAX).toFixed(2);
    const id = await this.submit(shell(`echo begin; sleep ${seconds}; echo end >&2`), "succeeded");
    if (this.chance.is(0.3)) await this.readSlowly(id);
  }

  async talk(): Promise<void> {
    const bytes = this.chance.whole(...TALK_BYTES);
    const id = await this.submit(shell(`yes "a line of some length that is said again and again" | head -c ${bytes}`), "succeeded");
    await Promise.all([this.readSlowly(id), ...(this.chance.is(0.5) ? [this.stall(id)] : [])]);
  }

  async fail(): Promise<void> {
    await this.submit({ kind: "echo", input: { fail: true }, retry: { max: this.chance.whole(0, 2), backoffMs: BACKOFF_MS } }, "failed");
  }

  async failOnce(): Promise<void> {
    await this.submit({ ...shell('[ "$OPENCLAW_CLUSTER_ATTEMPT" -gt 1 ]'), retry: { max: 3, backoffMs: BACKOFF_MS } }, "succeeded");
  }

  async cancel(): Promise<void> {
    const endless: TaskSpec = { kind: "echo", input: { delayMs: ENDLESS_S * 1_000 } };
    const id = await this.submit(this.chance.is(0.5) ? shell(`sleep ${ENDLESS_S}`) : endless, "cancelled");
    await pause(this.chance.between(0, CANCEL_AFTER_MS_MAX));
    await this.cluster.client.cancel({ id }).catch(() => this.cancelAgain(id));
  }

  async later(): Promise<void> {
    await this.submit({ kind: "echo", input: { value: "later" }, runAt: Date.now() + this.chance.whole(0, LATER_MS_MAX) }, "succeeded");
  }

  /** As a client that missed the first answer. */
  async twice(): Promise<void> {
    const spec: TaskSpec = { kind: "echo", input: { value: "once" } };
    const idempotencyKey = `soak-${Math.floor(this.chance.next() * 2 ** 48).toString(36)}`;
    const [first, second] = await Promise.all([1, 2].map(() => this.cluster.client.submit(spec, { idempotencyKey })));
    for (const answer of [first, second]) if (answer !== undefined) this.sent.set(answer.id, "succeeded");
    if (first?.id !== second?.id) this.broken.push(`G4: ${idempotencyKey} is ${first?.id} and ${second?.id}`);
  }

  /** Whether the first one arrived is not known: then it may be over by now. */
  private async cancelAgain(id: TaskId): Promise<void> {
    await this.cluster.client.cancel({ id }).catch((error: unknown) => {
      if (!(error instanceof ClusterError && error.code === "state_conflict")) throw error;
    });
  }

  private async submit(spec: TaskSpec, end: TaskState): Promise<TaskId> {
    const { id } = await this.cluster.client.submit(spec);
    this.sent.set(id, end);
    return id;
  }

  private async readSlowly(id: TaskId): Promise<void> {
    const chance = this.chance.fork();
    const signal = AbortSignal.timeout(READ_MS_MAX);
    try {
      for await (const piece of this.cluster.client.logs(id, { follow: true, signal })) {
        void piece;
        await pause(chance.between(0, SLOW_PIECE_MS_MAX));
      }
    } catch (error) {
      if (!signal.aborted) throw error;
    }
  }

  private async stall(id: TaskId): Promise<void> {
    const headers = { authorization: `Bearer ${this.cluster.token}` };
    const asked = request(`${this.cluster.url}/api/v1/tasks/${id}/logs?follow=true`, { headers, agent: false }, (answer) => {
      // Whatever ends it, we end it too.
      answer.on("error", () => undefined);
      answer.pause();
    });
    asked.on("error", () => undefined);
    asked.end();
    await pause(STALL_MS);
    asked.destroy();
  }
}

function shell(script: string): TaskSpec {
  return { kind: "command", input: { argv: ["sh", "-c", script] }, onLost: "retry" };
}

const { echoes, command, talk, fail, failOnce, cancel, later, twice } = Load.prototype;
/** One for each share of it. */
const STEPS: readonly [Step, ...Step[]] = [
  ...([echoes, echoes, echoes, echoes, echoes] as const),
  ...([command, command, command, command] as const),
  ...([cancel, cancel, fail, failOnce, later, twice, talk] as const),
];
