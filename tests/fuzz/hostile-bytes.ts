/**
 * The bus as it is on the wire: a real nats-server, a real coordinator, an honest worker, and somebody with a key of the cluster who
 * writes bytes. As a node it seals some of them, as the product does; as the coordinator's own key, which opens every subject
 * on the server, it has no life that anybody believes.
 */
import { mkdtemp, rm, stat } from "node:fs/promises";
import { tmpdir } from "node:os";
import path from "node:path";
import type { ClusterId, NodeId, TaskId } from "@openclaw-cluster/contract/ids";
import type { Task } from "@openclaw-cluster/contract/task";
import { headers, type MsgHdrs } from "@nats-io/transport-node";
import fc from "fast-check";
import { openEnvelopes } from "../../cluster/src/bus/envelopes.ts";
import { connectNats } from "../../cluster/src/bus/nats.ts";
import { openConnection, type Connection } from "../../cluster/src/bus/nats-connection.ts";
import { startNatsServer } from "../../cluster/src/bus/nats-server.ts";
import {
  controlTo,
  COORDINATOR,
  COORDINATOR_INBOX,
  heartbeatFrom,
  inboxOf,
  offersTo,
  outputOf,
  reportFrom,
} from "../../cluster/src/bus/subjects.ts";
import type { Coordinator } from "../../cluster/src/coordinator/coordinator.ts";
import { openCoordinator } from "../../cluster/src/coordinator/open.ts";
import { DEFAULT_POLICY } from "../../cluster/src/core/policy.ts";
import { echoExecutor } from "../../cluster/src/executors/echo.ts";
import type { Executor } from "../../cluster/src/executors/executors.ts";
import { openRamStore } from "../../cluster/src/store/ram.ts";
import { systemClock as clock } from "../../cluster/src/system/clock.ts";
import type { Log } from "../../cluster/src/system/log.ts";
import { createNodeKeys, type NodeKeys } from "../../cluster/src/trust/keys.ts";
import { Keyring } from "../../cluster/src/trust/keyring.ts";
import { openWorker } from "../../cluster/src/worker/worker.ts";
import { AUTHORITY } from "../support/authority.ts";
import { natsIn } from "../support/nats.ts";
import { factsOf } from "../support/ram-cluster.ts";
import { countingLog, type Counted } from "./counting-log.ts";
import { heldMiB } from "./memory.ts";
import { bytesOf, textForms } from "./mutation.ts";

export interface BytesVerdict {
  /** Of the honest worker's tasks, given while the others wrote. */
  readonly ends: readonly Task["state"][];
  readonly messages: number;
  readonly logged: Counted;
  readonly serverLogBytes: number;
  readonly grownMiB: number;
}

interface Piece {
  readonly from: "node" | "coordinator";
  readonly subject: string;
  readonly reply: string | undefined;
  readonly bytes: Buffer;
  readonly sealed: boolean;
  readonly part: string | undefined;
}

const [GOOD, EVIL] = ["good" as NodeId, "evil" as NodeId];
const TASK = "t1" as TaskId;
const BATCH = 50;
const HUGE = 1_000_000;
const FIRST_WORD_MS = 5_000;

const UP = [reportFrom(EVIL), heartbeatFrom(EVIL), outputOf(EVIL, TASK, 1), "ocx.blob.evil.t1.1.end", "ocx.up.evil.nothing"];
/** Not its own: the server is to refuse them. */
const FOREIGN = [
  reportFrom(GOOD),
  heartbeatFrom(GOOD),
  offersTo(GOOD),
  `${COORDINATOR_INBOX}.x.y`,
  "$SYS.REQ.SERVER.PING",
  "$JS.API.STREAM.PURGE.OCX_OUT_good",
];
const DOWN = [offersTo(GOOD), controlTo(GOOD), `${inboxOf(GOOD)}.x.y`, reportFrom(EVIL)];
const REPLIES = [undefined, `${inboxOf(EVIL)}.x.y`, `${inboxOf(GOOD)}.x.y`, offersTo(GOOD), `${COORDINATOR_INBOX}.x.y`];
const PARTS = [
  "",
  "m",
  "m 0 2",
  "m 0 1",
  "m 1 2",
  "m 0 99999999",
  "m 0 -1",
  "m NaN NaN",
  "m 0 1e3",
  "m 0 0",
  " ",
  "a b c d",
  "x".repeat(4_000),
];

const pieces: fc.Arbitrary<Piece> = fc
  .record({
    node: fc.boolean(),
    up: fc.oneof({ weight: 5, arbitrary: fc.constantFrom(...UP) }, { weight: 1, arbitrary: fc.constantFrom(...FOREIGN) }),
    down: fc.constantFrom(...DOWN),
    reply: fc.constantFrom(...REPLIES),
    bytes: fc.oneof(
      { weight: 4, arbitrary: fc.tuple(fc.jsonValue(), textForms).map(([value, form]) => bytesOf(value, form)) },
      { weight: 2, arbitrary: fc.uint8Array({ maxLength: 200 }).map((bytes) => Buffer.from(bytes)) },
      {
        weight: 1,
        arbitrary: fc.constantFrom("m ", "a ", "c ", `m ${"A".repeat(16)} 1 - ${"A".repeat(86)}\n{}`).map((text) => Buffer.from(text)),
      },
    ),
    sealed: fc.boolean(),
    part: fc.option(fc.constantFrom(...PARTS), { nil: undefined, freq: 2 }),
  })
  .map(({ node, up, down, ...rest }) => ({ ...rest, from: node ? "node" : "coordinator", subject: node ? up : down }));

/** They come first: as large as the server takes, doubled and halved. */
const KNOWN_BAD: readonly Piece[] = [
  // Its answer would be larger than a message may be.
  {
    from: "node",
    subject: heartbeatFrom(EVIL),
    reply: `${inboxOf(EVIL)}.x.large`,
    bytes: Buffer.from(
      `{"node":"evil","boot":1,"n":9,"load":{"cpu":0,"memoryFreeMiB":1,"diskFreeMiB":1,"running":0,"held":0},"held":[${'{"task":"t1","attempt":1e9,"epoch":1e9},'.repeat(25_000)}{"task":"t1","attempt":1,"epoch":1}]}`,
    ),
    sealed: true,
    part: undefined,
  },
  ...[Buffer.alloc(HUGE), Buffer.from("[".repeat(HUGE)), Buffer.from(`[${"0,".repeat(HUGE / 2 - 2)}0]`)].flatMap((bytes): Piece[] => [
    ...[true, false].map((sealed): Piece => ({
      from: "node",
      subject: reportFrom(EVIL),
      reply: undefined,
      bytes,
      sealed,
      part: undefined,
    })),
    { from: "coordinator", subject: offersTo(GOOD), reply: undefined, bytes, sealed: false, part: undefined },
  ]),
  ...Array.from({ length: 70 }, (_, n): Piece => ({
    from: "node",
    subject: reportFrom(EVIL),
    reply: `${inboxOf(EVIL)}.x.${n}`,
    bytes: Buffer.alloc(16_384),
    sealed: false,
    part: `m ${n} 999`,
  })),
];

export async function fuzzBytes({ seed, goesOn }: { seed: number; goesOn(messages: number): boolean }): Promise<BytesVerdict> {
  const { log, counted } = countingLog();
  const ends: (() => Promise<void>)[] = [];
  try {
    const cluster = await open(log, ends);
    for (const piece of KNOWN_BAD) cluster.write(piece);
    await cluster.run(1);
    const before = await heldMiB();
    const states: Task["state"][] = [];
    let messages = 0;
    for (let batch = seed; goesOn(messages); batch += 1) {
      for (const piece of fc.sample(pieces, { seed: batch, numRuns: BATCH })) cluster.write(piece);
      await cluster.flush();
      messages += BATCH;
      states.push(await cluster.run(batch));
    }
    return {
      ends: states,
      messages,
      logged: counted,
      serverLogBytes: await cluster.serverLogBytes(),
      grownMiB: (await heldMiB()) - before,
    };
  } finally {
    for (const end of ends.toReversed()) await end();
  }
}

interface Cluster {
  write(piece: Piece): void;
  flush(): Promise<void>;
  /** An honest task, to its end. */
  run(value: number): Promise<Task["state"]>;
  serverLogBytes(): Promise<number>;
}

async function open(log: Log, ends: (() => Promise<void>)[]): Promise<Cluster> {
  const folder = await mkdtemp(path.join(tmpdir(), "ocx-bytes-"));
  ends.push(() => rm(folder, { recursive: true, force: true }));
  const keys = { coordinator: createNodeKeys(), good: createNodeKeys(), evil: createNodeKeys() };
  const server = await startNatsServer({ ...(await natsIn(folder)), coordinator: keys.coordinator });
  ends.push(() => server.stop());
  const keyring = new Keyring();
  const envelopes = openEnvelopes({ self: COORDINATOR, seed: keys.coordinator.seed, keyOf: (party) => keyring.keyOf(party) });
  const bus = await connectNats({ urls: [server.url], seed: keys.coordinator.seed, envelopes, log });
  ends.push(() => bus.close());
  const broken = (error: unknown): void => log.error({ err: error }, "broken");
  const coordinator = await openCoordinator({
    ...{ name: "test", version: "0", self: GOOD, store: openRamStore(), bus, busServer: server, keyring, broken, clock, log },
    authority: AUTHORITY,
    ...{ coordinatorKey: keys.coordinator.publicKey, busUrls: [server.url], apiUrls: () => [], random: Math.random },
    ...{ strategy: "balanced" as const, retentionMs: 86_400_000 },
  });
  ends.push(() => coordinator.stop());
  const { cluster } = await coordinator.enrol({ id: GOOD, publicKey: keys.good.publicKey });
  await coordinator.enrol({ id: EVIL, publicKey: keys.evil.publicKey });
  const keyOf = (): string => keys.coordinator.publicKey;
  const ownEnvelopes = (self: NodeId, { seed }: NodeKeys) => openEnvelopes({ self, seed, keyOf });
  const goodBus = await connectNats({
    urls: [server.url],
    seed: keys.good.seed,
    node: GOOD,
    envelopes: ownEnvelopes(GOOD, keys.good),
    log,
  });
  ends.push(() => goodBus.close());
  const worker = await openWorker({
    ...{ node: GOOD, cluster: cluster as ClusterId, bus: goodBus, clock, log, folder: path.join(folder, "worker") },
    ...{ executors: new Map([["echo", echoExecutor({ clock }) as Executor]]), facts: async () => factsOf(), slots: 4, diskFloorMiB: 0 },
    policy: { current: () => DEFAULT_POLICY },
  });
  ends.push(() => worker.stop({ graceMs: 0 }));
  // Its complaints about what the server forbids are its own.
  const quiet = countingLog().log;
  const connect = (name: string, { seed }: NodeKeys): Promise<Connection> =>
    openConnection({ urls: [server.url], seed, name, inboxPrefix: name === EVIL ? inboxOf(EVIL) : COORDINATOR_INBOX, log: quiet });
  const writers = { node: await connect(EVIL, keys.evil), coordinator: await connect("coordinator", keys.coordinator) };
  ends.push(
    () => writers.node.close(),
    () => writers.coordinator.close(),
  );
  // Shared with a bus of the product's own, which finds out for which life of the coordinator its words have to be.
  const seals = ownEnvelopes(EVIL, keys.evil);
  const evilBus = await connectNats({ urls: [server.url], seed: keys.evil.seed, node: EVIL, envelopes: seals, log: quiet });
  ends.push(() => evilBus.close());
  const load = { cpu: 0, memoryFreeMiB: 1, diskFreeMiB: 1, running: 0, held: 0 };
  await evilBus.request(heartbeatFrom(EVIL), { node: EVIL, boot: 1, n: 1, load, facts: factsOf(), held: [] }, FIRST_WORD_MS);
  return {
    write({ from, subject, reply, bytes, sealed, part }) {
      const whole = sealed && from === "node" ? seals.seal(subject, bytes).bytes : bytes;
      const options = { ...(reply !== undefined && { reply }), ...(part !== undefined && { headers: partHeader(part) }) };
      writers[from].nc.publish(subject, whole, options);
    },
    flush: async () => void (await Promise.all([writers.node.nc.flush(), writers.coordinator.nc.flush()])),
    run: (value) => runTask(coordinator, value),
    serverLogBytes: async () => (await stat(path.join(folder, "nats-server.log"))).size,
  };
}

function partHeader(part: string): MsgHdrs {
  const all = headers();
  all.set("Ocx-Part", part);
  return all;
}

async function runTask(coordinator: Coordinator, value: number): Promise<Task["state"]> {
  const specs = [{ kind: "echo" as const, input: { value }, require: { nodes: [GOOD] } }];
  const [submitted] = await coordinator.submit({ owner: "test", specs });
  const { state } = await coordinator.waitFor(submitted?.id as TaskId, 20_000, new AbortController().signal);
  return state;
}
