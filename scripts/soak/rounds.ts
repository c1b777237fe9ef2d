/**
 * The course of a soak, round after round: load with perhaps a strike in it, then rest, then judgement of all that the round
 * submitted, while samples are taken throughout.
 */
import { readdir } from "node:fs/promises";
import path from "node:path";
import { setTimeout as pause } from "node:timers/promises";
import type { Client } from "@openclaw-cluster/contract/client/client";
import type { TaskId } from "@openclaw-cluster/contract/ids";
import { TERMINAL, type TaskState } from "@openclaw-cluster/contract/task";
import { until, type TestCluster, type TestDaemon } from "../../tests/support/daemon.ts";
import { processesOf } from "../../tests/support/leaked-processes.ts";
import { endsOf } from "../../tests/support/feed.ts";
import { watchTasks, type Watch } from "../../tests/support/promises.ts";
import { Chance } from "../../tests/simulation/world/chance.ts";
import { childrenOf } from "../bench/usage.ts";
import { Load } from "./load.ts";
import { clock, progressLine } from "./report.ts";
import { samplePart, sampleSizes, type Sample } from "./samples.ts";
import { carryOut, strikeOf, type Strike } from "./strikes.ts";

const LOAD_MS = 45_000;
/** A strike falls in the midst of the load. */
const STRIKE_AT = [0.1, 0.6] as const;
const SAMPLE_MS = 10_000;
const COUNT_MS = 1_000;
/** The API closes a connection that nobody uses for 5 s. */
const REST_MS = 8_000;
/** When the load is over everything ends within this (I13), also what a lost node held. */
const SETTLE_MS = 90_000;

export class Soak {
  readonly samples: Sample[] = [];
  /** Promises that were broken. */
  readonly problems: string[] = [];
  readonly struck = new Map<Strike, number>();
  tasks = 0;
  rounds = 0;
  private readonly startedAt = performance.now();
  private readonly cluster: TestCluster;
  private readonly workers: Readonly<Record<"one" | "two", TestDaemon>>;
  private readonly chance: Chance;
  private readonly leave: AbortSignal;

  /** The second worker is the one that is struck. `leave`: to end with what is seen by then. */
  constructor(parts: { cluster: TestCluster; workers: Soak["workers"]; seed: number; leave: AbortSignal }) {
    this.cluster = parts.cluster;
    this.workers = parts.workers;
    this.chance = new Chance(parts.seed);
    this.leave = parts.leave;
  }

  get elapsedMs(): number {
    return performance.now() - this.startedAt;
  }

  async run(runMs: number): Promise<void> {
    const over = new AbortController();
    const sampling = this.sampleUntil(over.signal);
    try {
      while (this.elapsedMs < runMs && !this.leave.aborted) await this.round(Math.min(LOAD_MS, runMs - this.elapsedMs));
    } finally {
      over.abort();
      await sampling;
    }
  }

  private async round(loadMs: number): Promise<void> {
    this.rounds += 1;
    const chance = this.chance.fork();
    const strike = strikeOf(this.rounds, chance);
    const watch = watchTasks(this.cluster.client);
    await watch.open();
    const load = new Load(this.cluster, chance.fork());
    const before = this.tasks;
    const count = (): void => void (this.tasks = before + load.sent.size);
    const counting = setInterval(count, COUNT_MS);
    try {
      await Promise.all([load.run(loadMs, this.leave), strike && this.strike(strike, chance.between(...STRIKE_AT) * loadMs, chance)]);
    } finally {
      clearInterval(counting);
      count();
    }
    await this.settle();
    await pause(REST_MS);
    await this.sample(true);
    const found = [...load.broken, ...(await this.leftBehind()), ...(await judge(watch, load, this.cluster.client))];
    this.problems.push(...found.map((problem) => `round ${this.rounds}: ${problem}`));
  }

  private async strike(strike: Strike, inMs: number, chance: Chance): Promise<void> {
    // An abort ends the pause with an error that says nothing new.
    await pause(inMs, undefined, { signal: this.leave }).catch(() => undefined);
    if (this.leave.aborted) return;
    console.log(`${clock(this.elapsedMs)} | ${strike}`);
    this.struck.set(strike, (this.struck.get(strike) ?? 0) + 1);
    await carryOut(strike, this.cluster, this.workers.two, chance);
  }

  /** Nothing is open, and both nodes are there. */
  private async settle(): Promise<void> {
    const { client } = this.cluster;
    const settled = async (): Promise<true | undefined> => {
      const [{ tasks }, { nodes }] = await Promise.all([client.cluster(), client.nodes()]);
      const open = Object.entries(tasks).some(([state, count]) => count > 0 && !TERMINAL.has(state as TaskState));
      return !open && nodes.every(({ state, load }) => state === "ready" && load?.held === 0) ? true : undefined;
    };
    await until("everything has ended, and both nodes are ready", settled, SETTLE_MS);
  }

  /** I14. */
  private async leftBehind(): Promise<string[]> {
    const found: string[] = [];
    for (const { home } of Object.values(this.workers)) {
      const attempts = path.join(home, "data", "worker", "attempts");
      for (const name of await readdir(attempts).catch(() => [])) found.push(`I14: the folder of attempt ${name} is still there`);
      for (const { command } of processesOf(`${attempts}${path.sep}`)) found.push(`I14: a program of an attempt goes on: ${command}`);
    }
    return found;
  }

  private async sampleUntil(signal: AbortSignal): Promise<void> {
    while (!signal.aborted) {
      await this.sample(false);
      await pause(SAMPLE_MS, undefined, { signal }).catch(() => undefined);
    }
  }

  private async sample(atRest: boolean): Promise<void> {
    const { lead } = this.cluster;
    const { one, two } = this.workers;
    const [nats] = await childrenOf(lead.pid);
    const pids = { coordinator: lead.pid, one: one.pid, two: two.pid, ...(nats !== undefined && { nats }) };
    const parts = await Promise.all(Object.entries(pids).map(([part, pid]) => samplePart(part, pid)));
    const sizes = await sampleSizes(lead.home);
    const sample: Sample = { atMs: this.elapsedMs, atRest, parts: parts.filter((one) => one !== undefined), sizes };
    this.samples.push(sample);
    console.log(progressLine(sample, this.tasks));
  }
}

/** By the one judge of all tests on real parts; and each task has ended as its kind must. */
async function judge(watch: Watch, { sent }: Load, client: Client): Promise<string[]> {
  const broken = await watch.broken([...sent.keys()]);
  const ends = endsOf(watch.events);
  const wrong = [...sent].filter(([id, end]) => ends.get(id)?.at(-1) !== end);
  return [...broken, ...(await Promise.all(wrong.map(([id, end]) => wrongEnd(client, id, end))))];
}

async function wrongEnd(client: Client, id: TaskId, end: TaskState): Promise<string> {
  const [{ kind, state, error }, { attempts }] = await Promise.all([client.getTask({ id }), client.attempts({ id })]);
  const course = attempts.map(
    ({ n, node, outcome, error: why }) => `${n} on ${node} ${outcome} ${why === undefined ? "" : JSON.stringify(why)}`,
  );
  return `${id}, a ${kind}, is ${state} and not ${end}: ${error?.message ?? "without an error"} (${course.join("; ")})`;
}
