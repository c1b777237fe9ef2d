/**
 * A node that was taken over says whatever it likes about its own work and that of others, under its own subjects, which are all that
 * it has. What it says is made from the schemas of the messages; everything that can be seen of it is looked at as operators do.
 */
import { Heartbeat, OutputChunk, Report } from "@openclaw-cluster/contract/wire";
import fc from "fast-check";
import { openApiGround } from "./api-ground.ts";
import { minutesOf, tooMuch, type Budget } from "./budget.ts";
import { countingLog } from "./counting-log.ts";
import { EvilNode, type News } from "./evil-node.ts";
import { valuesOfType } from "./from-schema.ts";
import { heldMiB } from "./held-memory.ts";
import { KNOWN_BAD_NEWS } from "./known-bad-news.ts";
import { bytesOf, mutations, textForms } from "./mutation.ts";

export interface NodeVerdict {
  readonly faults: readonly string[];
  readonly messages: number;
  /** Messages, by what they were. */
  readonly said: Readonly<Record<News["what"], number>>;
  /** What became of the tasks that it was given, by state, and how many results it stored as blobs. */
  readonly ends: Readonly<Record<string, number>>;
  /** Pieces of its output that the API has given out. */
  readonly pieces: number;
  /** Events that the feed of an administrator brought, by type. */
  readonly heard: Readonly<Record<string, number>>;
  readonly lines: number;
  readonly grownMiB: number;
}

/** So many messages after each piece of work that it is given; so many before all is looked at. */
const BATCH = 20;
const LOOK_EVERY = 12 * BATCH;
/** Of those about whom a line is written: itself, and the honest one. Each attempt that a node loses has its own, and limit (lead.ts). */
const PARTIES = 2;
const LOSSES_TOLD_MAX = 500;
const LOSS = "attempt lost with its node";

export async function fuzzNode({ seed, goesOn }: Budget): Promise<NodeVerdict> {
  const { log, counted } = countingLog();
  const ground = await openApiGround(log);
  const startedAt = performance.now();
  try {
    const evil = await EvilNode.join(ground);
    const arbitrary = newsArbitrary();
    for (const news of KNOWN_BAD_NEWS) await evil.publish(news);
    const before = (await heldMiB()) - evil.keptMiB;
    const faults: string[] = [];
    let messages = 0;
    for (let batch = seed; goesOn(messages) && faults.length === 0; batch += 1) {
      await evil.getWork();
      for (const news of fc.sample(arbitrary, { seed: batch, numRuns: BATCH })) await evil.say(news);
      messages += BATCH;
      if (messages % LOOK_EVERY === 0) faults.push(...(await evil.look()));
    }
    faults.push(...(await evil.judge()));
    const grownMiB = (await heldMiB()) - evil.keptMiB - before;
    await evil.close();
    const passedMs = performance.now() - startedAt;
    const losses = Math.min(counted.said.get(LOSS) ?? 0, LOSSES_TOLD_MAX * minutesOf(passedMs));
    const left = { logged: counted, parties: PARTIES, passedMs, grownMiB, acts: ground.mended() + losses };
    faults.push(...tooMuch(left));
    const { said, ends, pieces } = evil;
    return { faults, messages, said, ends, pieces, heard: ground.feeds[0]?.heard ?? {}, lines: counted.lines, grownMiB };
  } finally {
    await ground.end();
  }
}

function newsArbitrary(): fc.Arbitrary<News> {
  const blob = fc.tuple(fc.jsonValue(), textForms).map(([value, form]) => bytesOf(value, form));
  const of = (what: News["what"], body: fc.Arbitrary<unknown>): fc.Arbitrary<News> =>
    fc.record({ what: fc.constant(what), body, changes: mutations, blob });
  return fc.oneof(
    { weight: 4, arbitrary: of("report", valuesOfType(Report)) },
    { weight: 3, arbitrary: of("heartbeat", valuesOfType(Heartbeat)) },
    { weight: 2, arbitrary: of("output", valuesOfType(OutputChunk)) },
    { weight: 1, arbitrary: of("blob", fc.constant(0)) },
  );
}
