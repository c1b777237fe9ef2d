/**
 * A coordinator that was taken over, against a real worker: offers, orders and answers made from the schemas, well and badly. The worker's
 * policy allows echo and agents' turns, and no command; a command that runs all the same is the worst that can be found.
 *
 * K1. Epochs stay small, but in what comes last: a node obeys the highest that it has heard, for good.
 */
import { Control, HeartbeatReply, Offers, ReportReply } from "@openclaw-cluster/contract/wire";
import fc from "fast-check";
import { z } from "zod";
import { ANY_HEARTBEAT, ANY_REPORT, controlTo, offersTo } from "../../cluster/src/bus/subjects.ts";
import { DEFAULT_POLICY } from "../../cluster/src/core/policy.ts";
import { BODY_BYTES_MAX, type Message } from "../../cluster/src/bus/bus.ts";
import { NODE, WorkerGround } from "../support/worker-ground.ts";
import { countingLog, type Counted } from "./counting-log.ts";
import { valuesOf, type Schema } from "./from-schema.ts";
import { unlessTooLarge } from "./hostile-node.ts";
import { heldMiB } from "./memory.ts";
import { mutate, mutations, type Mutation } from "./mutation.ts";

interface Order {
  readonly what: "offers" | "control" | "answer to a heartbeat" | "answer to a report";
  readonly body: unknown;
  readonly changes: readonly Mutation[];
}

export interface WorkerVerdict {
  readonly faults: readonly string[];
  readonly messages: number;
  readonly turnsOfAgents: number;
  readonly logged: Counted;
  readonly grownMiB: number;
}

const EPOCH_MAX = 3;
const BATCH = 10;
const HEARTBEAT_MS = 2_000;
/** The last word: of an epoch above all that came before. */
const LAST = { n: 999_999, epoch: Number.MAX_SAFE_INTEGER } as const;

const bodies = (type: z.ZodType): fc.Arbitrary<unknown> => {
  const schema = z.toJSONSchema(type, { io: "input", target: "draft-2020-12" }) as Schema;
  return valuesOf(schema, schema["$defs"] as Record<string, Schema> | undefined);
};

function ordersArbitrary(): fc.Arbitrary<Order> {
  const of = (what: Order["what"], type: z.ZodType): fc.Arbitrary<Order> =>
    fc.record({ what: fc.constant(what), body: bodies(type), changes: mutations });
  return fc.oneof(
    { weight: 4, arbitrary: of("offers", Offers) },
    { weight: 3, arbitrary: of("control", Control) },
    { weight: 1, arbitrary: of("answer to a heartbeat", HeartbeatReply) },
    { weight: 1, arbitrary: of("answer to a report", ReportReply) },
  );
}

const zeros = (count: number): number[] => Array.from({ length: count }, () => 0);
const nested = (levels: number): unknown => JSON.parse(`${"[".repeat(levels)}${"]".repeat(levels)}`);
const echoOf = (value: unknown): object => ({ task: "t7", attempt: 1, epoch: 1, spec: { kind: "echo", input: { value } } });

/** They come first. */
const KNOWN_BAD = (boot: number): readonly Order[] => [
  { what: "offers", body: { epoch: 1, boot, offers: zeros(400_000) }, changes: [] },
  { what: "offers", body: { epoch: 1, boot, offers: [echoOf(nested(440))] }, changes: [] },
  {
    what: "offers",
    body: { epoch: 1, boot, offers: [{ ...echoOf(1), spec: { kind: "command", input: { argv: zeros(400_000) } } }] },
    changes: [],
  },
  { what: "control", body: { kind: "cancel", epoch: 1, attempts: zeros(400_000) }, changes: [] },
  { what: "answer to a heartbeat", body: { epoch: 1, leaseMs: 9_000, stop: zeros(400_000) }, changes: [] },
  { what: "answer to a report", body: { epoch: 1, verdicts: zeros(400_000) }, changes: [] },
];

export async function fuzzWorker({ seed, goesOn }: { seed: number; goesOn(messages: number): boolean }): Promise<WorkerVerdict> {
  const { log, counted } = countingLog();
  const ground = new WorkerGround();
  ground.policy = DEFAULT_POLICY;
  const worker = await ground.open({ log });
  try {
    const evil = new EvilCoordinator(ground);
    const arbitrary = ordersArbitrary();
    for (const order of KNOWN_BAD(ground.boot)) await evil.give(order);
    const before = await heldMiB();
    let messages = 0;
    for (let batch = seed; goesOn(messages); batch += 1) {
      for (const order of fc.sample(arbitrary, { seed: batch, numRuns: BATCH })) await evil.give(order);
      messages += BATCH;
      await evil.passTime();
    }
    const faults = await evil.judge();
    return { faults, messages, turnsOfAgents: evil.turnsOfAgents, logged: counted, grownMiB: (await heldMiB()) - before };
  } finally {
    const stopping = worker.stop({ graceMs: 0 });
    await ground.pass(20_000, 1_000);
    await stopping;
    await ground.remove();
  }
}

class EvilCoordinator {
  turnsOfAgents = 0;
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
    const wrong = mutate(this.plausible(body), changes);
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
    [this.answer, ground.renewing, ground.verdict] = [undefined, true, () => "accepted"];
    ground.epoch = EPOCH_MAX;
    await ground.pass(HEARTBEAT_MS, HEARTBEAT_MS / 2);
    // What a test keeps for looking at would be taken for a leak of the worker's.
    ground.reports.length = 0;
    ground.heartbeats.length = 0;
  }

  /** K1, and for the life that the worker has. */
  private plausible(value: unknown): unknown {
    if (Array.isArray(value)) return value.map((item) => this.plausible(item));
    if (typeof value !== "object" || value === null) return value;
    const copy: Record<string, unknown> = Object.fromEntries(Object.entries(value).map(([name, one]) => [name, this.plausible(one)]));
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
    // Long enough for whatever pause or doubt there was.
    await ground.pass(700_000, 10_000);
    ground.offer(LAST);
    await ground.settle();
    this.endTurns();
    const { outcome } = await ground.end(LAST.n);
    if (outcome.kind !== "succeeded") faults.push(`the last task is ${JSON.stringify(outcome)}`);
    return faults;
  }
}
