/**
 * A whole cluster under a seed: real coordinator, real workers, ram store, ram bus, virtual time; people who want things, and
 * trouble. `run` takes so many steps, then lets the trouble end and waits until everything is at rest.
 */
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import path from "node:path";
import { NodeId } from "@openclaw-cluster/contract/ids";
import { openRamNet } from "../../../cluster/src/bus/ram.ts";
import { isTerminal } from "../../../cluster/src/core/task.ts";
import { ACTS } from "./acts.ts";
import { simulatedEnvelopes } from "../../support/fake-keys.ts";
import { Chance } from "./chance.ts";
import { Checker, type Violation } from "./checker.ts";
import { Disk } from "./disk.ts";
import { Head } from "./head.ts";
import { Machine } from "./machine.ts";
import { People } from "./people.ts";
import { VirtualTime } from "./time.ts";
import { Trouble } from "./trouble.ts";
import { Weather } from "./weather.ts";

export interface Outcome {
  readonly seed: number;
  readonly steps: number;
  /** Virtual time that went by. */
  readonly ms: number;
  readonly tasks: number;
  readonly violations: readonly Violation[];
  /** What happened to whom, newest last. */
  readonly trace: readonly string[];
  /** What was seen of the task that the first violation is about. */
  readonly story: readonly string[];
}

const MACHINES_MAX = 4;
const TRACE_MAX = 60;
/** A laptop's patience, a mass loss's, the longest task with its retries, and some. */
const REST_MS_MAX = 600_000;
const SETTLE_MS = 5_000;

export async function simulate(seed: number, steps: number): Promise<Outcome> {
  const world = new World(seed);
  try {
    return await world.run(steps);
  } finally {
    world.remove();
  }
}

class World {
  private readonly seed: number;
  private readonly time = new VirtualTime();
  private readonly checker = new Checker(this.time);
  private readonly trace: string[] = [];
  private readonly folder = mkdtempSync(path.join(tmpdir(), "openclaw-cluster-sim-"));
  private readonly disk: Disk;
  private readonly head: Head;
  private readonly machines: readonly Machine[];
  private readonly people: People;
  private readonly trouble: Trouble;
  private steps = 0;

  constructor(seed: number) {
    this.seed = seed;
    const { time, checker } = this;
    const chance = new Chance(seed);
    const weather = new Weather(time, chance.fork());
    const net = openRamNet({ clock: time, faults: weather.faults });
    const envelopes = simulatedEnvelopes(seed);
    this.disk = new Disk(chance.fork(), (batch, life) => checker.committed(batch, life));
    this.head = new Head({
      time,
      chance: chance.fork(),
      net,
      envelopes,
      disk: this.disk,
      checker,
      onBus: (up) => this.trouble?.busIs(up),
      isConnected: (id) => this.machines.some((machine) => machine.id === id && machine.life?.link.connected === true),
    });
    const { head, disk, folder } = this;
    this.machines = Array.from({ length: chance.whole(1, MACHINES_MAX) }, (_, index) => {
      const labels = { ...(index === 0 || chance.is(0.4) ? { room: "office" } : {}), ...(chance.is(0.2) && { laptop: "yes" }) };
      const kinds = index === 0 || chance.is(0.6) ? (["echo", "command", "agent"] as const) : (["echo"] as const);
      const slots = chance.whole(index === 0 ? 2 : 1, 4);
      const id = NodeId.parse(`node${index + 1}`);
      const enrol: Head["enrol"] = (its, clock) => head.enrol(its, clock);
      return new Machine({ id, slots, labels, kinds, time, chance: chance.fork(), net, envelopes, checker, folder, enrol });
    });
    const { machines } = this;
    this.people = new People({ time, chance: chance.fork(), head, checker, machines });
    this.trouble = new Trouble({ time, chance: chance.fork(), weather, head, disk, machines, acts: ACTS, note: (text) => this.note(text) });
  }

  async run(steps: number): Promise<Outcome> {
    this.head.start();
    for (const machine of this.machines) machine.start();
    this.people.work();
    this.trouble.begin();
    await this.until(() => this.steps >= steps);
    this.people.goHome();
    this.trouble.end();
    await this.rest();
    const { seed, time, checker, trace } = this;
    const story = checker.storyOf(checker.violations[0]?.key ?? 0);
    return { seed, steps: this.steps, ms: time.now, tasks: checker.tasks.size, violations: checker.violations, trace, story };
  }

  remove(): void {
    this.head.crash();
    for (const machine of this.machines) machine.crash();
    rmSync(this.folder, { recursive: true, force: true });
  }

  private note(text: string): void {
    this.trace.push(`${(this.time.now / 1_000).toFixed(3)} s: ${text}`);
    if (this.trace.length > TRACE_MAX) this.trace.shift();
  }

  /** Steps until it is so, or something is wrong. */
  private async until(done: () => boolean): Promise<void> {
    while (!done() && this.checker.violations.length === 0 && (await this.time.step())) this.steps += 1;
  }

  private async rest(): Promise<void> {
    const { checker, time } = this;
    const giveUpAt = time.now + REST_MS_MAX;
    const isQuiet = (): boolean => [...checker.tasks.values()].every(({ state }) => isTerminal(state)) && checker.running.size === 0;
    while (checker.violations.length === 0 && time.now < giveUpAt && !isQuiet()) {
      const settled = this.people.settleAll().then(() => time.passes(SETTLE_MS));
      let over = false;
      void settled.then(() => (over = true));
      await this.until(() => over);
    }
    if (checker.violations.length > 0) return;
    const rows = new Map<number, readonly { n: number }[]>();
    for (const key of checker.tasks.keys()) rows.set(key, await this.disk.truth.attempts(key));
    checker.atRest(rows);
    await this.balance();
    this.describe();
  }

  /** I15: what the coordinator holds in memory agrees with the disk, and nothing is promised to anybody any more. */
  private async balance(): Promise<void> {
    const { head, checker, disk } = this;
    const coordinator = head.life?.coordinator;
    if (coordinator === undefined) return checker.fault("I13", "nobody leads");
    for (const { id, slotsUsed } of coordinator.nodes()) {
      if (slotsUsed !== 0) checker.fault("I15", `${slotsUsed} slots of ${id} are still set aside`);
    }
    const { counts } = await disk.truth.load();
    const [told, kept] = [(await coordinator.cluster()).tasks, counts].map((tasks) =>
      Object.entries(tasks).filter(([, count]) => count > 0),
    );
    const sorted = (entries: typeof told): string => JSON.stringify([...(entries ?? [])].sort(([a], [b]) => a.localeCompare(b)));
    if (sorted(told) !== sorted(kept)) checker.fault("I15", `the coordinator counts ${sorted(told)}, the disk ${sorted(kept)}`);
    if (coordinator.queue(1).queued !== 0) checker.fault("I15", "the queue is not empty");
  }

  /** For whoever looks into a failure: how everybody stands. */
  private describe(): void {
    const { head, machines } = this;
    this.note(`coordinator: ${head.leads ? "leads" : "does not lead"}${head.life?.clock.running === true ? "" : ", does not run"}`);
    for (const { id, life } of machines) {
      const seen = head.life?.coordinator?.nodes().find((node) => node.id === id);
      const process =
        life === undefined ? "dead" : `${life.clock.running ? "runs" : "stands still"}, ${life.link.connected ? "" : "not "}connected`;
      this.note(
        `${id}: ${process}, runs ${life?.worker?.running ?? "no worker"}; seen as ${seen?.state}, ${seen?.slotsUsed}/${seen?.slots} slots`,
      );
    }
  }
}
