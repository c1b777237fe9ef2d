/**
 * The people of a simulated cluster: they submit, ask again when no answer came, cancel, answer, retry and drain. Each
 * knows only what it was told.
 */
import { taskKey, type TaskId } from "@openclaw-cluster/contract/ids";
import type { Submitted } from "@openclaw-cluster/contract/task";
import type { TaskSpec } from "@openclaw-cluster/contract/task-spec";
import { isTerminal } from "../../../cluster/src/core/task.ts";
import type { Chance } from "./chance.ts";
import type { Checker } from "./checker.ts";
import type { Answer, Front } from "./front.ts";
import type { Machine } from "./machine.ts";
import type { VirtualTime } from "./time.ts";
import { specOf } from "./work.ts";

const THINK_MS = [50, 1_500] as const;
const AGAIN_MS = [200, 3_000] as const;
/** Who looks, looks this often, at one of the latest tasks, of which there is most news. */
const LOOK_MS = [20, 300] as const;
const LATEST_MAX = 8;
const BATCH_MAX = 6;
/** How long tasks run: most are short, and a few outlast the silence after which a node is lost. */
const RUN_MS = { short: [1, 300], long: [300, 20_000], endless: [20_000, 60_000] } as const;
/** Where most work lasts: it is there still when a word by which it goes on is over. */
const LASTING_MS = [10_000, 200_000] as const;
const LASTING_THINK_MS = [500, 15_000] as const;
/** Between two presses of one button: while the first is being committed. */
const TWICE_MS = 6;
/** Tasks a slot that wait, run or are being submitted: enough for a queue that every cluster works off when the trouble is over. */
const OPEN_PER_SLOT_MAX = 5;
const LASTING_OPEN_PER_SLOT_MAX = 1;

export interface PeopleParts {
  readonly time: VirtualTime;
  readonly chance: Chance;
  readonly front: Front;
  readonly checker: Checker;
  readonly machines: readonly Machine[];
  /** They want few things, that take long. */
  readonly lasting?: boolean;
}

export class People {
  private readonly parts: PeopleParts;
  private readonly known: TaskId[] = [];
  private keys = 0;
  /** Requests without an answer yet. */
  private asking = 0;
  private home = false;

  constructor(parts: PeopleParts) {
    this.parts = parts;
  }

  work(): void {
    void this.submitting();
    void this.meddling();
    if (this.parts.front.isMany && this.parts.lasting !== true) void this.looking();
  }

  /** From now on nobody wants anything new. */
  goHome(): void {
    this.home = true;
  }

  /** What waits for a person is answered, and every node takes work: nothing is left that only a person could end. */
  async settleAll(): Promise<void> {
    const { front, checker, chance, machines } = this.parts;
    for (const { id } of machines) await front.ask((coordinator) => coordinator.drain(id, false));
    for (const task of checker.tasks.values()) {
      if (task.state !== "waiting") continue;
      const id = `t${task.key}` as TaskId;
      const decision = chance.is(0.5) ? "retry" : "fail";
      if (decision === "retry") checker.permitted(id);
      await front.ask((coordinator) => coordinator.answer(id, decision));
    }
  }

  private async submitting(): Promise<void> {
    const { time, checker, machines, lasting } = this.parts;
    while (!this.home) {
      await time.passes(this.thinkMs());
      const slots = machines.reduce((sum, machine) => sum + machine.slots, 0);
      if (checker.open + this.asking >= slots * (lasting === true ? LASTING_OPEN_PER_SLOT_MAX : OPEN_PER_SLOT_MAX)) continue;
      this.asking += 1;
      void this.submit().finally(() => (this.asking -= 1));
    }
  }

  /** The same request under the same key until it is answered; and sometimes once more afterwards. */
  private async submit(): Promise<void> {
    const { front, checker, chance, time } = this.parts;
    const key = chance.is(0.8) ? `k${++this.keys}` : undefined;
    const specs = Array.from({ length: chance.is(0.7) ? 1 : chance.whole(2, BATCH_MAX) }, () => this.spec());
    const idempotency = key === undefined ? undefined : { key, bodyHash: JSON.stringify(specs) };
    const send = (): Promise<Answer<readonly Submitted[]>> =>
      front.ask((coordinator) => coordinator.submit({ owner: "somebody", specs, ...(idempotency && { idempotency }) }));
    for (let again = chance.is(0.2) ? 2 : 1; again > 0;) {
      // Some press the button twice.
      if (key !== undefined && chance.is(0.2)) {
        const twice = time.passes(chance.between(0, TWICE_MS)).then(send);
        void twice.then((twin) => {
          if (twin.kind === "answered") checker.accepted(key, idsOf(twin.value));
        });
      }
      const answer = await send();
      if (answer.kind === "answered") {
        const ids = idsOf(answer.value);
        checker.accepted(key, ids);
        if (again === 1 || key === undefined) this.known.push(...ids);
        again -= 1;
      }
      // Without a key, a request whose answer is lost cannot be sent again.
      if (key === undefined) return;
      await time.passes(chance.between(...AGAIN_MS));
    }
  }

  private spec(): TaskSpec {
    const { chance, time } = this.parts;
    const ms = this.runMs();
    const kind = chance.pick(["echo", "echo", "command", "agent"]);
    const plan = { ms: Math.round(ms), fails: chance.is(0.1), ...(kind === "agent" && chance.is(0.5) && { actsAtMs: Math.round(ms / 2) }) };
    return {
      ...specOf(kind, plan),
      ...(chance.is(0.2) && { require: { labels: { room: "office" } } }),
      ...(chance.is(0.1) && { require: { slots: 2 } }),
      ...(chance.is(0.3) && { onLost: chance.pick(["retry", "ask", "fail"]) }),
      ...(chance.is(0.3) && { priority: chance.whole(0, 9) }),
      ...(chance.is(0.1) && { runAt: Math.floor(time.wall() + chance.between(0, 20_000)) }),
      ...(chance.is(0.05) && { deadline: Math.floor(time.wall() + chance.between(1_000, 60_000)) }),
      ...(chance.is(0.1) && {
        timeouts: { runMs: 5_000, ...(chance.is(0.5) && { startMs: 4_000 }), ...(chance.is(0.3) && { queueMs: 30_000 }) },
      }),
      ...(chance.is(0.3) && { retry: { max: chance.whole(0, 3), backoffMs: 500 } }),
      ...(chance.is(0.2) && { fairnessKey: chance.pick(["ann", "ben"]) }),
    } as TaskSpec;
  }

  private thinkMs(): number {
    const [low, high] = this.parts.lasting === true ? LASTING_THINK_MS : THINK_MS;
    return this.parts.chance.between(low, high);
  }

  private runMs(): number {
    const { chance, lasting } = this.parts;
    if (lasting === true) return chance.between(...LASTING_MS);
    const [low, high] = chance.is(0.7) ? RUN_MS.short : chance.is(0.07) ? RUN_MS.endless : RUN_MS.long;
    return chance.between(low, high);
  }

  private async meddling(): Promise<void> {
    const { time } = this.parts;
    while (!this.home) {
      await time.passes(this.thinkMs() * 2);
      const id = this.known[this.parts.chance.whole(0, this.known.length - 1)];
      if (id !== undefined) await this.meddle(id);
    }
  }

  private async meddle(id: TaskId): Promise<void> {
    const { front, checker, chance, machines } = this.parts;
    const task = checker.tasks.get(taskKey(id));
    const act = chance.next();
    if (act < 0.3) await front.ask((coordinator) => coordinator.cancel(id));
    else if (act < 0.4 && task !== undefined && isTerminal(task.state)) {
      checker.permitted(id);
      await front.ask((coordinator) => coordinator.retry(id));
    } else if (act < 0.6 && task?.state === "waiting") {
      const decision = chance.is(0.6) ? "retry" : "fail";
      if (decision === "retry") checker.permitted(id);
      await front.ask((coordinator) => coordinator.answer(id, decision));
    } else if (act < 0.65) {
      const machine = chance.pick(machines as [Machine, ...Machine[]]);
      await front.ask((coordinator) => coordinator.drain(machine.id, chance.is(0.3)));
    } else if (act < 0.67) {
      await front.ask((coordinator) => coordinator.shutdownNode(chance.pick(machines as [Machine, ...Machine[]]).id));
    } else if (act < 0.8) await front.ask((coordinator) => coordinator.why(id));
    else await this.look(id);
  }

  /** Where several answer, somebody looks again and again: each must know what another has said. */
  private async looking(): Promise<void> {
    const { time, chance } = this.parts;
    while (!this.home) {
      await time.passes(chance.between(...LOOK_MS));
      const id = this.known.at(-chance.whole(1, LATEST_MAX));
      if (id !== undefined) await this.look(id);
    }
  }

  private async look(id: TaskId): Promise<void> {
    const { front, checker } = this.parts;
    const before = checker.tasks.get(taskKey(id))?.seq;
    const seen = await front.ask((coordinator) => coordinator.task(id), { reads: true });
    if (seen.kind === "answered") checker.read(id, { before: seen.old === true ? 0 : before, told: seen.value.seq });
  }
}

const idsOf = (submitted: readonly Submitted[]): TaskId[] => submitted.map(({ id }) => id);
