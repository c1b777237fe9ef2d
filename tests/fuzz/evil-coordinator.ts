/**
 * The coordinator of a hostile campaign (hostile-coordinator.ts), in the place of the honest one of a worker's ground, which goes on
 * in between.
 *
 * K1. Epochs stay small, but in what comes last: a node obeys the highest that it has heard, for good.
 */
import { BODY_BYTES_MAX, type Message } from "../../cluster/src/bus/bus.ts";
import { ANY_HEARTBEAT, ANY_REPORT, controlTo, offersTo } from "../../cluster/src/bus/subjects.ts";
import { NODE, type WorkerGround } from "../support/worker-ground.ts";
import { mutate, type Mutation } from "./mutation.ts";
import { unlessTooLarge } from "./too-large.ts";

export interface Order {
  readonly what: "offers" | "control" | "answer to a heartbeat" | "answer to a report";
  readonly body: unknown;
  readonly changes: readonly Mutation[];
}

const EPOCH_MAX = 3;
const HEARTBEAT_MS = 2_000;
/** Longer than any pause or doubt that a coordinator can order. */
const DOUBT_MS = 700_000;
const DOUBT_STEP_MS = 10_000;
/** The last word: of an epoch above all that came before. */
const LAST = { n: 999_999, epoch: Number.MAX_SAFE_INTEGER } as const;

export class EvilCoordinator {
  readonly said: Record<Order["what"], number> = {
    ...{ offers: 0, control: 0 },
    ...{ "answer to a heartbeat": 0, "answer to a report": 0 },
  };
  turnsOfAgents = 0;
  commandsRefused = 0;
  private readonly ground: WorkerGround;
  private answer: { readonly to: string; readonly body: unknown } | undefined;

  constructor(ground: WorkerGround) {
    this.ground = ground;
    const bus = ground.net.connect("evil");
    const say =
      (to: string) =>
      ({ respond }: Message) => {
        if (this.answer?.to === to) respond?.(this.answer.body);
      };
    bus.subscribe(ANY_HEARTBEAT, say("answer to a heartbeat"));
    bus.subscribe(ANY_REPORT, say("answer to a report"));
  }

  async give({ what, body, changes }: Order): Promise<void> {
    const { ground } = this;
    const wrong = inTerm(mutate(this.plausible(body), changes));
    this.said[what] += 1;
    if (what === "offers") await unlessTooLarge(() => ground.coordinator.publish(offersTo(NODE), wrong));
    else if (what === "control") await unlessTooLarge(() => ground.coordinator.publish(controlTo(NODE), wrong));
    else if (Buffer.byteLength(JSON.stringify(wrong) ?? "") < BODY_BYTES_MAX) {
      this.answer = { to: what, body: wrong };
      // The honest half is silent meanwhile, or it would be heard first.
      ground.renewing = what !== "answer to a heartbeat";
      ground.verdict = () => (what === "answer to a report" ? undefined : "accepted");
    }
    await ground.settle();
    this.endTurns();
  }

  async passTime(): Promise<void> {
    const { ground } = this;
    await ground.pass(HEARTBEAT_MS, HEARTBEAT_MS / 2);
    // What was not taken is said again now.
    ground.reports.length = 0;
    [this.answer, ground.renewing, ground.verdict] = [undefined, true, () => "accepted"];
    ground.epoch = EPOCH_MAX;
    await ground.pass(HEARTBEAT_MS, HEARTBEAT_MS / 2);
    this.countRefusals();
    // What a test keeps for looking at would be taken for a leak of the worker's.
    ground.reports.length = 0;
    ground.heartbeats.length = 0;
  }

  private countRefusals(): void {
    for (const { outcome } of this.ground.reports.flatMap(({ finished }) => finished))
      if (outcome.kind === "refused" && outcome.error.code === "policy_denied") this.commandsRefused += 1;
  }

  /** K1, and for the life that the worker has. */
  private plausible(value: unknown): unknown {
    if (Array.isArray(value)) return value.map((item) => this.plausible(item));
    if (typeof value !== "object" || value === null) return value;
    const copy: Record<string, unknown> = Object.fromEntries(Object.entries(value).map(([name, one]) => [name, this.plausible(one)]));
    // Slots that are taken for days would leave the rest of the campaign with nothing but refusals.
    if (typeof copy["delayMs"] === "number") copy["delayMs"] %= HEARTBEAT_MS;
    if (typeof copy["epoch"] === "number") copy["epoch"] = EPOCH_MAX;
    if (typeof copy["boot"] === "number" && copy["boot"] % 5 !== 4) copy["boot"] = this.ground.boot;
    return copy;
  }

  private endTurns(): void {
    for (const run of this.ground.agent.runs.splice(0)) {
      this.turnsOfAgents += 1;
      run.end({ kind: "succeeded", result: "done" });
    }
  }

  /** It goes on, and has done nothing that its policy does not allow. */
  async judge(): Promise<string[]> {
    const { ground } = this;
    const faults = ground.command.runs.map(({ spec }) => `a command has run: ${JSON.stringify(spec)}`);
    [this.answer, ground.renewing, ground.epoch] = [undefined, true, LAST.epoch];
    await ground.pass(DOUBT_MS, DOUBT_STEP_MS);
    ground.offer(LAST);
    await ground.settle();
    this.endTurns();
    const { outcome } = await ground.end(LAST.n);
    if (outcome.kind !== "succeeded") faults.push(`the last task is ${JSON.stringify(outcome)}`);
    return faults;
  }
}

/** K1: also where a change has raised it, for whoever has heard of the last epoch heeds nothing any more. */
function inTerm(value: unknown): unknown {
  if (typeof value !== "object" || value === null || Array.isArray(value)) return value;
  const { epoch } = value as { readonly epoch?: unknown };
  return Number.isSafeInteger(epoch) && (epoch as number) > EPOCH_MAX ? { ...value, epoch: EPOCH_MAX } : value;
}
