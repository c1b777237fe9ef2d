/**
 * A whole cluster under a seed: real coordinators, real workers, stores and buses in memory, virtual time; people who want things, and
 * trouble. `run` takes so many steps, then lets the trouble end and waits until everything is at rest.
 */
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import path from "node:path";
import { NodeId } from "@openclaw-cluster/contract/ids";
import { openRamNet, type Faults, type RamNet } from "../../../cluster/src/bus/ram.ts";
import { isTerminal } from "../../../cluster/src/core/task.ts";
import type { Store } from "../../../cluster/src/store/store.ts";
import { simulatedEnvelopes, type OpenEnvelopes } from "../../support/fake-keys.ts";
import { Chance } from "./chance.ts";
import { Checker, LEADERLESS_MS_MAX, type Violation } from "./checker.ts";
import { Council } from "./council.ts";
import { councilActs } from "./council-acts.ts";
import { Disk } from "./disk.ts";
import { enrol, type Front } from "./front.ts";
import { Head } from "./head.ts";
import { headActs } from "./head-acts.ts";
import { islandActs } from "./island-acts.ts";
import { Machine, type MachineParts } from "./machine.ts";
import { Members } from "./members.ts";
import { People } from "./people.ts";
import { SharedEtcd } from "./shared-etcd.ts";
import { VirtualTime } from "./time.ts";
import { Trouble, type Act } from "./trouble.ts";
import { Weather } from "./weather.ts";

export interface Outcome {
  readonly seed: number;
  readonly steps: number;
  /** Virtual time that went by. */
  readonly ms: number;
  readonly tasks: number;
  /** How often a coordinator claimed the store. */
  readonly terms: number;
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
/** Where work takes long. */
const LASTING_REST_MS_MAX = 3_600_000;
const SETTLE_MS = 5_000;

export interface Kind {
  /** Machines also come with codes, leave for good, and get other keys. Signatures cost time, so not in every world. */
  readonly members?: boolean;
  /** Two control nodes or three share an etcd, and contend for the lead. */
  readonly contend?: boolean;
  /** As `contend`, and they are cut off together with machines, or left without a quorum, while work goes on that takes long. */
  readonly islands?: boolean;
}

export async function simulate(seed: number, steps: number, kind: Kind = {}): Promise<Outcome> {
  const world = new World(seed, kind);
  try {
    return await world.run(steps);
  } finally {
    world.remove();
  }
}

/** Whoever leads there, what may go wrong with them, and what is true whoever leads. */
interface Lead {
  readonly front: Front;
  readonly acts: readonly [Act, ...Act[]];
  truth(): Promise<Pick<Store, "load" | "attempts">>;
}

class World {
  private readonly seed: number;
  private readonly time = new VirtualTime();
  private readonly checker = new Checker(this.time);
  private readonly trace: string[] = [];
  private readonly folder = mkdtempSync(path.join(tmpdir(), "openclaw-cluster-sim-"));
  private readonly envelopes: OpenEnvelopes;
  private readonly weather: Weather;
  private readonly lead: Lead;
  private readonly machines: readonly Machine[];
  private readonly people: People;
  private readonly trouble: Trouble;
  private readonly members: Members | undefined;
  private readonly lasting: boolean;
  private steps = 0;

  constructor(seed: number, { members = false, contend = false, islands = false }: Kind) {
    this.seed = seed;
    this.lasting = islands;
    const { time, checker } = this;
    const chance = new Chance(seed);
    this.weather = new Weather(time, chance.fork());
    this.envelopes = simulatedEnvelopes(seed);
    let faults: Faults = this.weather.faults;
    const net = openRamNet({ clock: time, faults: (passage) => faults(passage) });
    if (contend || islands) {
      const { council, lead } = this.council(chance, net, islands);
      faults = council.faults;
      this.lead = lead;
    } else this.lead = this.head(chance, net);
    const { front } = this.lead;
    const { envelopes, folder, weather } = this;
    if (members) this.members = new Members({ time, chance: chance.fork(), front, checker, note: (text) => this.note(text) });
    this.machines = Array.from({ length: chance.whole(islands ? MACHINES_MAX - 1 : 1, MACHINES_MAX) }, (_, index) => {
      const labels = { ...(index === 0 || chance.is(0.4) ? { room: "office" } : {}), ...(chance.is(0.2) && { laptop: "yes" }) };
      const kinds = index === 0 || chance.is(0.6) ? (["echo", "command", "agent"] as const) : (["echo"] as const);
      const slots = chance.whole(index === 0 ? 2 : 1, 4);
      const id = NodeId.parse(`node${index + 1}`);
      const letIn: MachineParts["enrol"] = (its, clock) => this.members?.enrol(its, clock) ?? enrol(front, its, clock);
      const publicKey = this.members && (() => this.members?.publicKeyOf(id) ?? "");
      return new Machine({
        id,
        slots,
        labels,
        kinds,
        time,
        chance: chance.fork(),
        net,
        envelopes,
        publicKey,
        checker,
        folder,
        enrol: letIn,
      });
    });
    const { machines } = this;
    this.people = new People({ time, chance: chance.fork(), front, checker, machines, lasting: islands });
    const acts = [...this.lead.acts, ...(this.members?.acts ?? [])] as const;
    const admits = ({ id }: Machine): boolean => this.members?.admits(id) ?? true;
    const note = (text: string): void => this.note(text);
    this.trouble = new Trouble({ time, chance: chance.fork(), weather, front, machines, acts, sparse: islands, admits, note });
  }

  private head(chance: Chance, net: RamNet): Lead {
    const { time, checker, envelopes } = this;
    const disk = new Disk(chance.fork(), {
      claimed: (epoch, life) => checker.claimed(epoch, life),
      committed: (batch, life) => {
        checker.committed(batch, life);
        this.members?.committed(batch);
      },
    });
    const front = new Head({
      ...{ time, chance: chance.fork(), net, envelopes, disk, checker },
      onAuthorize: (nodes) => this.authorized(nodes),
      onBus: (up) => this.trouble?.busIs(up),
      isConnected: (id) => this.machines.some((machine) => machine.id === id && machine.life?.link.connected === true),
    });
    return { front, acts: headActs(front, disk), truth: async () => disk.truth };
  }

  private council(chance: Chance, net: RamNet, islands: boolean): { council: Council; lead: Lead } {
    const { time, checker, envelopes, weather } = this;
    const etcd = new SharedEtcd({ time, chance: chance.fork(), checker });
    const council = new Council({
      ...{ time, chance: chance.fork(), net, envelopes, etcd, checker, weather },
      count: islands || chance.is(0.3) ? 3 : 2,
      isOneBus: islands || chance.is(0.5),
      machines: () => this.machines ?? [],
    });
    return { council, lead: { front: council, acts: islands ? islandActs(council) : councilActs(council), truth: () => etcd.truth } };
  }

  async run(steps: number): Promise<Outcome> {
    this.lead.front.start();
    for (const machine of this.machines) machine.start();
    this.people.work();
    this.trouble.begin();
    await this.until(() => this.steps >= steps);
    this.people.goHome();
    this.members?.end();
    this.trouble.end();
    if (this.lead.front.isMany) await this.someoneLeads();
    await this.rest();
    const { seed, time, checker, trace } = this;
    const story = checker.storyOf(checker.violations[0]?.key ?? 0);
    return {
      seed,
      steps: this.steps,
      ms: time.now,
      tasks: checker.tasks.size,
      terms: checker.terms,
      violations: checker.violations,
      trace,
      story,
    };
  }

  remove(): void {
    this.lead.front.crash();
    for (const machine of this.machines) machine.crash();
    rmSync(this.folder, { recursive: true, force: true });
  }

  private note(text: string): void {
    this.trace.push(`${(this.time.now / 1_000).toFixed(3)} s: ${text}`);
    if (this.trace.length > TRACE_MAX) this.trace.shift();
  }

  /** Steps until it is so, or something is wrong. */
  private async until(done: () => boolean): Promise<void> {
    while (!done() && this.checker.violations.length === 0 && (await this.time.step())) {
      this.steps += 1;
      this.checker.lookAtLeaders();
    }
  }

  /** Steps until that is done; undefined where something is wrong before. */
  private async passesUntil<T>(work: Promise<T>): Promise<T | undefined> {
    let done: { readonly value: T } | undefined;
    void work.then((value) => (done = { value }));
    // What needs no time takes no step.
    await new Promise(setImmediate);
    await this.until(() => done !== undefined);
    return done?.value;
  }

  /** L3, L4. */
  private async someoneLeads(): Promise<void> {
    const { lead, time, checker } = this;
    const since = time.now;
    await this.until(() => lead.front.coordinator !== undefined || time.now > since + LEADERLESS_MS_MAX);
    if (checker.violations.length === 0 && lead.front.coordinator === undefined)
      checker.fault("L3", "nobody leads since the trouble is over");
    await this.passesUntil(lead.front.isKnown());
  }

  private async rest(): Promise<void> {
    const { checker, time } = this;
    const giveUpAt = time.now + (this.lasting ? LASTING_REST_MS_MAX : REST_MS_MAX);
    const isQuiet = (): boolean => [...checker.tasks.values()].every(({ state }) => isTerminal(state)) && checker.running.size === 0;
    while (checker.violations.length === 0 && time.now < giveUpAt && !isQuiet()) {
      await this.passesUntil(this.people.settleAll().then(() => time.passes(SETTLE_MS)));
    }
    if (checker.violations.length > 0) return;
    const truth = await this.lead.truth();
    const rows = new Map<number, readonly { n: number }[]>();
    for (const key of checker.tasks.keys()) rows.set(key, await truth.attempts(key));
    checker.atRest(rows);
    await this.membersAtRest();
    await this.balance();
    this.describe();
  }

  /** Whose key is not taken is cut off, and comes back with another one, if it has that. */
  private authorized(nodes: Parameters<Members["authorized"]>[0]): void {
    this.members?.authorized(nodes);
    for (const machine of this.machines ?? []) {
      if (this.members?.isTaken(machine.id) !== false || machine.life?.link.connected !== true) continue;
      machine.life.link.set(false);
      this.trouble.reconnect(machine);
    }
  }

  private async membersAtRest(): Promise<void> {
    if (this.members !== undefined) await this.passesUntil(this.members.atRest());
  }

  /** I15: what the coordinator holds in memory agrees with the store, and nothing is promised to anybody any more. */
  private async balance(): Promise<void> {
    const { checker, lead } = this;
    const { coordinator } = lead.front;
    if (coordinator === undefined) return checker.fault("I13", "nobody leads");
    for (const { id, slotsUsed } of coordinator.nodes()) {
      if (slotsUsed !== 0) checker.fault("I15", `${slotsUsed} slots of ${id} are still set aside`);
    }
    const { counts } = await (await lead.truth()).load();
    const view = await this.passesUntil(coordinator.cluster());
    if (checker.violations.length > 0) return;
    const [told, kept] = [view?.tasks ?? {}, counts].map((tasks) => Object.entries(tasks).filter(([, count]) => count > 0));
    const sorted = (entries: typeof told): string => JSON.stringify([...(entries ?? [])].sort(([a], [b]) => a.localeCompare(b)));
    if (sorted(told) !== sorted(kept)) checker.fault("I15", `the coordinator counts ${sorted(told)}, the store ${sorted(kept)}`);
    if (coordinator.queue(1).queued !== 0) checker.fault("I15", "the queue is not empty");
  }

  /** For whoever looks into a failure: how everybody stands. */
  private describe(): void {
    const { lead, machines } = this;
    for (const line of lead.front.describe()) this.note(line);
    for (const { id, life } of machines) {
      const seen = lead.front.coordinator?.nodes().find((node) => node.id === id);
      const process =
        life === undefined ? "dead" : `${life.clock.running ? "runs" : "stands still"}, ${life.link.connected ? "" : "not "}connected`;
      this.note(
        `${id}: ${process}, runs ${life?.worker?.running ?? "no worker"}; seen as ${seen?.state}, ${seen?.slotsUsed}/${seen?.slots} slots`,
      );
    }
  }
}
