/**
 * One machine with a real worker on it: its process starts, dies, is stopped, sleeps and comes back; its disk (the spool)
 * and its Gateway's turns outlive the process.
 */
import { DatabaseSync } from "node:sqlite";
import type { ClusterId, NodeId } from "@openclaw-cluster/contract/ids";
import { taskKey } from "@openclaw-cluster/contract/ids";
import type { TaskKind } from "@openclaw-cluster/contract/task-spec";
import type { RamNet } from "../../../cluster/src/bus/ram.ts";
import { decide, Policy } from "../../../cluster/src/core/policy.ts";
import type { TaskRecord } from "../../../cluster/src/core/task.ts";
import type { Execution, Executor } from "../../../cluster/src/executors/executors.ts";
import { silentLog } from "../../../cluster/src/system/log.ts";
import { Spool } from "../../../cluster/src/worker/spool.ts";
import { openWorker, type Worker } from "../../../cluster/src/worker/worker.ts";
import type { OpenEnvelopes } from "../../support/fake-keys.ts";
import { LooseBus } from "../../support/loose-bus.ts";
import { factsOf } from "../../support/ram-cluster.ts";
import type { Chance } from "./chance.ts";
import { slotsOf, type Checker, type Host, type Run } from "./checker.ts";
import { PartyClock } from "./party-clock.ts";
import type { VirtualTime } from "./time.ts";
import { planOf, workExecutor, type Workbench } from "./work.ts";

export interface MachineParts {
  readonly id: NodeId;
  readonly slots: number;
  readonly labels: Readonly<Record<string, string>>;
  readonly kinds: readonly ("echo" | "command" | "agent")[];
  readonly time: VirtualTime;
  readonly chance: Chance;
  readonly net: RamNet;
  readonly envelopes: OpenEnvelopes;
  readonly checker: Checker;
  /** Worker's folders lie below it. */
  readonly folder: string;
  /** Lets the machine in; resolves when a coordinator has answered. */
  enrol(id: NodeId, clock: PartyClock): Promise<ClusterId>;
}

const AWAY_MS = [500, 30_000] as const;
/** systemd-logind waits no longer. */
const SLEEP_HELD_MS = 5_000;

/** The file stays, whoever had it open. */
class KeptSpool extends Spool {
  override close(): void {}
}

interface Life {
  readonly clock: PartyClock;
  readonly link: LooseBus;
  worker?: Worker;
  leaving: boolean;
}

export class Machine implements Host {
  readonly parts: MachineParts;
  readonly skew = { ms: 0 };
  life: Life | undefined;
  /** Its disk. */
  isFull = false;
  /** When this life's worker saw that. */
  private knownFullAt: number | undefined;
  private readonly disk = new DatabaseSync(":memory:");
  private readonly policy: Policy;
  /** Turns in this machine's Gateway, by run: when each is done. */
  private readonly turns = new Map<string, number>();

  constructor(parts: MachineParts) {
    this.parts = parts;
    const allow = { echo: parts.kinds.includes("echo"), agents: parts.kinds.includes("agent") ? ["*"] : [], commands: ["**"] };
    this.policy = Policy.parse({ version: 1, allow: { ...allow, commands: parts.kinds.includes("command") ? ["**"] : [] } });
  }

  get id(): NodeId {
    return this.parts.id;
  }

  get slots(): number {
    return this.parts.slots;
  }

  forbids({ spec }: TaskRecord): string | undefined {
    const missing = Object.entries(spec.require?.labels ?? {}).filter(([name, value]) => this.parts.labels[name] !== value);
    if (missing.length > 0) return `has no label ${missing.map(([name]) => name).join()}`;
    if (this.knownFullAt !== undefined && this.knownFullAt < this.parts.time.now) return "knows that its disk is full";
    const decision = decide(this.policy, spec);
    return decision.allow ? undefined : decision.reason;
  }

  start(): void {
    if (this.life !== undefined) return;
    const { time, chance, net, envelopes, id } = this.parts;
    const clock = new PartyClock(time, chance.fork(), this.skew);
    const life: Life = { clock, link: new LooseBus(net.connect(id, clock, envelopes(id))), leaving: false };
    this.life = life;
    this.knownFullAt = undefined;
    void this.open(life);
  }

  /** kill -9, or the plug. Commands die with their worker; a turn goes on in its Gateway. */
  crash(): void {
    const { life } = this;
    if (life === undefined) return;
    this.life = undefined;
    life.clock.kill();
    this.parts.checker.died(life.clock, ({ key, attempt }) => this.turns.has(`${key}.${attempt}`));
    void life.link.close();
  }

  /** Its system announces the sleep, and waits some seconds at most. Gives what wakes it. */
  async fallAsleep(): Promise<() => void> {
    const { life } = this;
    if (life?.worker === undefined || life.leaving || !life.clock.running) return () => undefined;
    await Promise.race([life.worker.sleep({ graceMs: 500 }), life.clock.passes(SLEEP_HELD_MS)]);
    life.clock.stop("asleep");
    return () => {
      life.clock.goOn();
      // Told a little later, and sometimes not at all.
      if (this.parts.chance.is(0.8)) void life.clock.passes(this.parts.chance.between(10, 2_000)).then(() => life.worker?.wake());
    };
  }

  /** In good order; somebody starts it again after a while. */
  shutDown(graceMs: number): void {
    const { life } = this;
    const { time, chance } = this.parts;
    if (life?.worker === undefined || life.leaving || !life.clock.running) return;
    life.leaving = true;
    void life.worker.stop({ graceMs }).then(() => {
      if (this.life === life) this.crash();
      void time.passes(chance.between(...AWAY_MS)).then(() => this.start());
    });
  }

  private load(): { cpu: number; memoryFreeMiB: number; diskFreeMiB: number } {
    if (!this.isFull) this.knownFullAt = undefined;
    else this.knownFullAt ??= this.parts.time.now;
    return { cpu: 0.1, memoryFreeMiB: 1_000, diskFreeMiB: this.isFull ? 0 : 10_000 };
  }

  private async open(life: Life): Promise<void> {
    const { id, slots, folder, labels, kinds, enrol } = this.parts;
    const { clock } = life;
    const cluster = await enrol(id, clock);
    const facts = factsOf({ labels: { ...labels }, slots, kinds: [...kinds], policy: { kinds: [...kinds] } });
    const openclaw = { version: "1", reachable: true, agents: ["default"], models: [] };
    life.worker = await openWorker({
      node: id,
      cluster,
      bus: life.link,
      clock,
      log: silentLog,
      executors: this.executors(clock),
      facts: async () => (kinds.includes("agent") ? { ...facts, openclaw } : facts),
      policy: { current: () => this.policy },
      folder: `${folder}/${id}`,
      slots,
      diskFloorMiB: 1,
      load: async () => this.load(),
      openSpool: (_file, its, wallMs, log) => new KeptSpool(this.disk, its, wallMs, log),
      onShutdown: () => this.shutDown(20_000),
    });
  }

  private executors(clock: PartyClock): ReadonlyMap<TaskKind, Executor> {
    const { time, chance } = this.parts;
    const begin = (execution: Execution): ReturnType<Workbench["begin"]> => this.begin(execution, clock);
    const own: Workbench = { chance, passes: (ms) => clock.passes(ms), begin };
    // What a Gateway has begun goes on in its own time, but its end is heard by a process that lives.
    const gateway: Workbench = { chance, passes: (ms) => time.passes(ms).then(() => clock.passes(0)), begin };
    return new Map(this.parts.kinds.map((kind) => [kind, workExecutor(kind, kind === "agent" ? gateway : own)]));
  }

  private begin({ offer }: Execution, life: PartyClock): ReturnType<Workbench["begin"]> {
    const { checker, time } = this.parts;
    const key = taskKey(offer.task);
    const name = `${key}.${offer.attempt}`;
    const task = checker.tasks.get(key);
    const { ms } = planOf(offer.spec);
    const doneAt = this.turns.get(name);
    const takenUpAt = doneAt === undefined ? undefined : time.now;
    const run: Run = { key, attempt: offer.attempt, node: this.id, life, slots: task === undefined ? 1 : slotsOf(task), takenUpAt };
    // Taken up again: it is the same run, now in the hands of a later life.
    for (const earlier of checker.running) {
      if (earlier.key === key && earlier.attempt === run.attempt && !earlier.life.alive) checker.finished(earlier);
    }
    checker.began(run, this, task);
    if (offer.spec.kind === "agent") this.turns.set(name, doneAt ?? time.now + ms);
    return {
      remainingMs: doneAt === undefined ? ms : Math.max(0, doneAt - time.now),
      end: () => {
        this.turns.delete(name);
        checker.finished(run);
      },
    };
  }
}
