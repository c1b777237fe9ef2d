/**
 * The ground for a worker's tests: a clock moved by hand, a bus in memory that can be cut, a coordinator that is the
 * test itself, and executors that do what the test says.
 */
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import path from "node:path";
import { TaskId, type ClusterId, type NodeId } from "@openclaw-cluster/contract/ids";
import type { NodeFacts } from "@openclaw-cluster/contract/node";
import type { Protocol } from "@openclaw-cluster/contract/protocol";
import type { TaskKind, TaskSpec } from "@openclaw-cluster/contract/task-spec";
import {
  Heartbeat,
  OutputChunk,
  Report,
  type AttemptRef,
  type Control,
  type Finished,
  type Offer,
  type Outcome,
  type Verdict,
} from "@openclaw-cluster/contract/wire";
import type { Bus } from "../../cluster/src/bus/bus.ts";
import { openRamNet, type Faults, type RamNet } from "../../cluster/src/bus/ram.ts";
import { ANY_HEARTBEAT, ANY_REPORT, controlTo, offersTo, outputOf } from "../../cluster/src/bus/subjects.ts";
import { Policy } from "../../cluster/src/core/policy.ts";
import { echoExecutor } from "../../cluster/src/executors/echo.ts";
import type { Execution, Executor } from "../../cluster/src/executors/executors.ts";
import { silentLog } from "../../cluster/src/system/log.ts";
import { Spool } from "../../cluster/src/worker/spool.ts";
import { openWorker, type Worker, type WorkerParts } from "../../cluster/src/worker/worker.ts";
import { HandClock } from "./hand-clock.ts";
import { LooseBus } from "./loose-bus.ts";

export const NODE = "n1" as NodeId;
const CLUSTER = "abcd1234" as ClusterId;
const WAIT_MS = 10_000;

export const FACTS: NodeFacts = {
  hostname: "here",
  os: "linux",
  arch: "x64",
  cpus: 2,
  memoryMiB: 1,
  diskFreeMiB: 1,
  version: "0",
  nodeVersion: "v26",
  kinds: ["echo"],
  skills: [],
  policy: { kinds: ["echo"] },
  labels: {},
  slots: 2,
};

/** A run of a puppet: the test ends it. */
interface PuppetRun {
  readonly spec: TaskSpec;
  readonly execution: Execution;
  end(outcome: Outcome): void;
  fail(error: unknown): void;
}

/** An executor that waits for the test. */
class Puppet implements Executor {
  readonly kind: TaskKind;
  readonly resumable: boolean;
  readonly runs: PuppetRun[] = [];
  /** As a well-behaved executor does: an abort ends the run. */
  obeys = true;

  constructor(kind: TaskKind, resumable: boolean) {
    this.kind = kind;
    this.resumable = resumable;
  }

  run(spec: TaskSpec, execution: Execution): Promise<Outcome> {
    const { promise, resolve, reject } = Promise.withResolvers<Outcome>();
    this.runs.push({ spec, execution, end: resolve, fail: reject });
    if (this.obeys) execution.signal.addEventListener("abort", () => resolve({ kind: "cancelled" }));
    return promise;
  }

  last(): PuppetRun {
    const run = this.runs.at(-1);
    if (run === undefined) throw new Error(`no ${this.kind} has run`);
    return run;
  }
}

interface Offering {
  readonly n: number;
  readonly attempt?: number;
  readonly epoch?: number;
  readonly spec?: unknown;
  readonly submitter?: unknown;
}

export class WorkerGround {
  readonly clock = new HandClock();
  readonly folder = mkdtempSync(path.join(tmpdir(), "ocx-worker-"));
  readonly net: RamNet;
  readonly coordinator: Bus;
  bus: LooseBus;
  readonly reports: Report[] = [];
  readonly heartbeats: Heartbeat[] = [];
  readonly command = new Puppet("command", false);
  readonly agent = new Puppet("agent", true);
  facts: NodeFacts = FACTS;
  policy = Policy.parse({ version: 1, allow: { agents: ["*"], commands: ["**"] } });
  /** undefined: no answer. */
  verdict: (finished: Finished) => Verdict | undefined = () => "accepted";
  /** Heartbeats are answered, by a coordinator of this epoch. */
  renewing = true;
  epoch = 1;
  leaseMs = 9_000;
  /** The mark of where the cluster is. */
  places: string | undefined;
  /** What the coordinator speaks, if it says so. */
  protocol: Protocol | undefined;
  /** What the next answers tell the worker to stop. */
  stop: AttemptRef[] = [];
  /** The worker's present life. */
  boot = 0;
  private worker: Worker | undefined;

  constructor(options: { faults?: Faults } = {}) {
    this.net = openRamNet({ clock: this.clock, ...options });
    this.coordinator = this.net.connect("coordinator");
    this.bus = new LooseBus(this.net.connect(NODE));
    this.coordinator.subscribe(ANY_HEARTBEAT, ({ body, respond }) => {
      this.heartbeats.push(Heartbeat.parse(body));
      if (this.renewing)
        respond?.({ epoch: this.epoch, leaseMs: this.leaseMs, stop: this.stop, protocol: this.protocol, places: this.places });
    });
    this.coordinator.subscribe(ANY_REPORT, ({ body, respond }) => {
      const report = Report.parse(body);
      this.reports.push(report);
      const verdicts = report.finished.map((one) => this.verdict(one));
      if (!verdicts.includes(undefined)) respond?.({ epoch: this.epoch, verdicts });
    });
  }

  async open(parts: Partial<WorkerParts> = {}): Promise<Worker> {
    this.worker = await openWorker({
      node: NODE,
      cluster: CLUSTER,
      bus: this.bus,
      clock: this.clock,
      log: silentLog,
      executors: new Map<TaskKind, Executor>([
        ["echo", echoExecutor({ clock: this.clock }) as Executor],
        ["command", this.command],
        ["agent", this.agent],
      ]),
      facts: async () => this.facts,
      policy: { current: () => this.policy },
      folder: this.folder,
      slots: 2,
      diskFloorMiB: 10,
      load: async () => ({ cpu: 0.5, memoryFreeMiB: 100, diskFreeMiB: 100 }),
      openSpool: (...where) => {
        const spool = Spool.open(...where);
        this.boot = spool.boot;
        return spool;
      },
      ...parts,
    });
    return this.worker;
  }

  /** As kill -9: nothing is said, nothing is heard any more, and the next `open` is the next life. */
  async crash(): Promise<void> {
    this.bus.set(false);
    await this.bus.close();
    this.bus = new LooseBus(this.net.connect(NODE));
  }

  async remove(): Promise<void> {
    await this.bus.close();
    await this.coordinator.close();
    rmSync(this.folder, { recursive: true, force: true });
  }

  offer(...offers: Offering[]): void {
    this.offerHaving(undefined, ...offers);
  }

  /** By a coordinator that has heard that heartbeat. */
  offerHaving(heard: Heartbeat | undefined, ...offers: Offering[]): void {
    const epoch = offers.at(-1)?.epoch ?? 1;
    const body = offers.map(
      ({ n, attempt, epoch: its, spec = { kind: "echo", input: { value: n } }, submitter }) =>
        ({ ...ref(n, attempt, its), spec, ...(submitter !== undefined && { submitter }) }) as Offer,
    );
    this.coordinator.publish(offersTo(NODE), { epoch, boot: this.boot, heard: heard?.n, offers: body });
  }

  control(control: Control): void {
    this.coordinator.publish(controlTo(NODE), control);
  }

  cancel(...attempts: AttemptRef[]): void {
    this.control({ kind: "cancel", epoch: 1, attempts });
  }

  /** Every end that was reported of the task, in order. */
  ends(n: number): Finished[] {
    return this.reports.flatMap(({ finished }) => finished).filter(({ task }) => task === `t${n}`);
  }

  async end(n: number): Promise<Finished> {
    await this.until(() => this.ends(n).length > 0, `the end of t${n}`);
    return this.ends(n)[0] as Finished;
  }

  async outcome(n: number): Promise<Outcome> {
    return (await this.end(n)).outcome;
  }

  async chunks(task: string, attempt: number): Promise<OutputChunk[]> {
    const chunks: OutputChunk[] = [];
    const subject = outputOf(NODE, TaskId.parse(task), attempt);
    for await (const { body } of this.coordinator.read(subject, { follow: false })) chunks.push(OutputChunk.parse(body));
    return chunks;
  }

  /** Turns of the event loop until it is so; the clock stands still meanwhile. */
  async until(condition: () => boolean, what: string): Promise<void> {
    const limit = performance.now() + WAIT_MS;
    while (!condition()) {
      if (performance.now() > limit) throw new Error(`waited ${WAIT_MS} ms for: ${what}`);
      await turn();
    }
  }

  /** Until that many runs of a puppet have begun. */
  async started(runs: readonly unknown[], count = 1): Promise<void> {
    await this.until(() => runs.length === count, `${count} runs`);
  }

  /** Lets everything that needs no time come to rest. */
  async settle(): Promise<void> {
    for (let count = 0; count < 20; count++) await turn();
  }

  /** Moves the clock in steps, with turns between. */
  async pass(ms: number, stepMs = 100): Promise<void> {
    for (let passed = 0; passed < ms; passed += stepMs) {
      this.clock.advance(Math.min(stepMs, ms - passed));
      await this.settle();
    }
  }
}

export function ref(n: number, attempt = 1, epoch = 1): AttemptRef {
  return { task: `t${n}` as TaskId, attempt, epoch };
}

function turn(): Promise<void> {
  return new Promise((resolve) => void setImmediate(resolve));
}
