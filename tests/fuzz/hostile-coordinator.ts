/**
 * A coordinator that was taken over, against a real worker: offers, orders and answers made from the schemas, well and badly. The worker's
 * policy allows echo and agents' turns, and no command; a command that runs all the same is the worst that can be found.
 */
import { Control, HeartbeatReply, Offers, ReportReply } from "@openclaw-cluster/contract/wire";
import fc from "fast-check";
import type { z } from "zod";
import { DEFAULT_POLICY } from "../../cluster/src/core/policy.ts";
import { WorkerGround } from "../support/worker-ground.ts";
import { tooMuch, type Budget } from "./budget.ts";
import { countingLog } from "./counting-log.ts";
import { EvilCoordinator, type Order } from "./evil-coordinator.ts";
import { valuesOfType } from "./from-schema.ts";
import { heldMiB } from "./held-memory.ts";
import { nested, zeros } from "./many.ts";
import { mutations } from "./mutation.ts";

export interface WorkerVerdict {
  readonly faults: readonly string[];
  readonly messages: number;
  /** Messages, by what they were. */
  readonly said: Readonly<Record<Order["what"], number>>;
  readonly turnsOfAgents: number;
  /** Offers of commands that the worker has refused by its policy. */
  readonly commandsRefused: number;
  readonly lines: number;
  readonly grownMiB: number;
}

const BATCH = 10;
/** The coordinator, for what it says by itself and for what it answers. */
const PARTIES = 2;

export async function fuzzWorker({ seed, goesOn }: Budget): Promise<WorkerVerdict> {
  const { log, counted } = countingLog();
  const ground = new WorkerGround();
  ground.policy = DEFAULT_POLICY;
  const worker = await ground.open({ log });
  const startedAt = ground.clock.monotonic();
  try {
    const evil = new EvilCoordinator(ground);
    const arbitrary = ordersArbitrary();
    for (const order of knownBad(ground.boot)) await evil.give(order);
    const before = await heldMiB();
    let messages = 0;
    for (let batch = seed; goesOn(messages); batch += 1) {
      for (const order of fc.sample(arbitrary, { seed: batch, numRuns: BATCH })) await evil.give(order);
      messages += BATCH;
      await evil.passTime();
    }
    const faults = await evil.judge();
    const grownMiB = (await heldMiB()) - before;
    faults.push(...tooMuch({ logged: counted, parties: PARTIES, passedMs: ground.clock.monotonic() - startedAt, grownMiB }));
    const { said, turnsOfAgents, commandsRefused } = evil;
    return { faults, messages, said, turnsOfAgents, commandsRefused, lines: counted.lines, grownMiB };
  } finally {
    const stopping = worker.stop({ graceMs: 0 });
    await ground.pass(20_000, 1_000);
    await stopping;
    await ground.remove();
  }
}

function ordersArbitrary(): fc.Arbitrary<Order> {
  const of = (what: Order["what"], type: z.ZodType): fc.Arbitrary<Order> =>
    fc.record({ what: fc.constant(what), body: valuesOfType(type), changes: mutations });
  return fc.oneof(
    { weight: 4, arbitrary: of("offers", Offers) },
    { weight: 3, arbitrary: of("control", Control) },
    { weight: 1, arbitrary: of("answer to a heartbeat", HeartbeatReply) },
    { weight: 1, arbitrary: of("answer to a report", ReportReply) },
  );
}

const echoOf = (value: unknown): object => ({ task: "t7", attempt: 1, epoch: 1, spec: { kind: "echo", input: { value } } });

/** They come first. */
const knownBad = (boot: number): Order[] =>
  [
    { what: "offers" as const, body: { epoch: 1, boot, offers: zeros(400_000) } },
    { what: "offers" as const, body: { epoch: 1, boot, offers: [echoOf(nested(440))] } },
    {
      what: "offers" as const,
      body: { epoch: 1, boot, offers: [{ ...echoOf(1), spec: { kind: "command", input: { argv: zeros(400_000) } } }] },
    },
    { what: "control" as const, body: { kind: "cancel", epoch: 1, attempts: zeros(400_000) } },
    { what: "answer to a heartbeat" as const, body: { epoch: 1, leaseMs: 9_000, stop: zeros(400_000) } },
    { what: "answer to a report" as const, body: { epoch: 1, verdicts: zeros(400_000) } },
  ].map((order) => ({ ...order, changes: [] }));
