/**
 * Bytes of any kind on a real nats-server, from a node that was taken over and from somebody with the coordinator's key: meanwhile the
 * honest node goes on, what it printed is read as it was, and nobody's log or memory fills.
 */
import { OutputChunk } from "@openclaw-cluster/contract/wire";
import type { Task } from "@openclaw-cluster/contract/task";
import { isDeepStrictEqual } from "node:util";
import fc from "fast-check";
import { openBytesGround, PRINTED, type BytesGround } from "./bytes-ground.ts";
import { EVIL, GOOD, KNOWN_BAD, OWN, pieces, TASK } from "./bytes-pieces.ts";
import { tooMuch, type Budget } from "./budget.ts";
import { countingLog } from "./counting-log.ts";
import { heldMiB } from "./held-memory.ts";

export interface BytesVerdict {
  readonly faults: readonly string[];
  readonly messages: number;
  /** Of the honest worker's tasks, given while the others wrote. */
  readonly ends: readonly Task["state"][];
  /** Pieces of the other node's output, of its own task, at the last look. */
  readonly pieces: number;
  readonly lines: number;
  readonly serverLogBytes: number;
  readonly grownMiB: number;
}

const BATCH = 50;
/** Those of whom the coordinator, its bus or the honest node complain. */
const PARTIES = 3;
/** nats-server writes of each connection and each refusal; more than this in a campaign, and somebody fills its disk. */
const SERVER_LOG_BYTES_MAX = 2 * 1024 * 1024;

export async function fuzzBytes({ seed, goesOn }: Budget): Promise<BytesVerdict> {
  const { log, counted } = countingLog();
  const ends: (() => Promise<void>)[] = [];
  const startedAt = performance.now();
  try {
    const ground = await openBytesGround(log, ends);
    for (const piece of KNOWN_BAD) ground.write(piece);
    await ground.run(1);
    const before = await heldMiB();
    const [faults, states]: [string[], Task["state"][]] = [[], []];
    let messages = 0;
    for (let batch = seed; goesOn(messages) && faults.length === 0; batch += 1) {
      for (const piece of fc.sample(pieces, { seed: batch, numRuns: BATCH })) ground.write(piece);
      await ground.flush();
      messages += BATCH;
      const state = await ground.run(batch);
      states.push(state);
      if (state !== "succeeded") faults.push(`an honest task is ${state}`);
      faults.push(...(await wrongOutput(ground)));
    }
    const grownMiB = (await heldMiB()) - before;
    const serverLogBytes = await ground.serverLogBytes();
    faults.push(...tooMuch({ logged: counted, parties: PARTIES, passedMs: performance.now() - startedAt, grownMiB }));
    if (serverLogBytes > SERVER_LOG_BYTES_MAX) faults.push(`${serverLogBytes} bytes in nats-server's log`);
    faults.push(...(await wrongBlame(ground)));
    const own = await ground.output(OWN);
    return { faults, messages, ends: states, pieces: own.length, lines: counted.lines, serverLogBytes, grownMiB };
  } finally {
    for (const end of ends.toReversed()) await end();
  }
}

/** Whatever stands beside it in the stream, output is read to its end, and is what its own node has written. */
async function wrongOutput(ground: BytesGround): Promise<string[]> {
  const [honest, own] = [await ground.output(TASK), await ground.output(OWN)];
  const wrong = own.find((chunk) => !isDeepStrictEqual(OutputChunk.parse(chunk), chunk) || chunk.task !== OWN);
  return [
    ...(isDeepStrictEqual(honest, PRINTED) ? [] : [`the honest node's output is read as ${JSON.stringify(honest).slice(0, 300)}`]),
    ...(wrong === undefined ? [] : [`the output has a piece ${JSON.stringify(wrong).slice(0, 300)}`]),
  ];
}

/** The audit log names the one who reached for others, and not the one who was reached for. */
async function wrongBlame(ground: BytesGround): Promise<string[]> {
  const trespasses = await ground.trespasses();
  const of = (node: string) => trespasses.filter(({ actor }) => actor === `node ${node}`);
  const [evil, good] = [of(EVIL), of(GOOD)];
  return [
    ...(evil.length > 0 ? [] : ["nobody has noticed that it reached for others"]),
    ...good.map(({ object }) => `the honest node is blamed: ${object}`),
  ];
}
