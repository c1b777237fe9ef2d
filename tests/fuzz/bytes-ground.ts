/**
 * The bus as it is on the wire: a real nats-server, a real coordinator, an honest worker that has done a task and printed something,
 * and writers with keys of the cluster, who write bytes. As a node one seals some of them, as the product does; as the coordinator's own
 * key, which opens every subject on the server, it has no life that anybody believes.
 */
import { mkdtemp, rm, stat } from "node:fs/promises";
import { tmpdir } from "node:os";
import path from "node:path";
import { AUDIT, type AuditEntry, type AuditPage } from "@openclaw-cluster/contract/audit";
import type { ClusterId, NodeId, TaskId } from "@openclaw-cluster/contract/ids";
import type { Task } from "@openclaw-cluster/contract/task";
import type { OutputChunk } from "@openclaw-cluster/contract/wire";
import { headers, type MsgHdrs } from "@nats-io/transport-node";
import type { Bus } from "../../cluster/src/bus/bus.ts";
import type { Envelopes } from "../../cluster/src/bus/envelope-door.ts";
import { openEnvelopes } from "../../cluster/src/bus/envelopes.ts";
import { connectNats } from "../../cluster/src/bus/nats.ts";
import { openConnection, type Connection } from "../../cluster/src/bus/nats-connection.ts";
import { wordFor } from "../../cluster/src/bus/nats-words.ts";
import { startNatsServer } from "../../cluster/src/bus/nats-server.ts";
import { COORDINATOR, COORDINATOR_INBOX, heartbeatFrom, inboxOf, keptUnder, outputOf } from "../../cluster/src/bus/subjects.ts";
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
import { signer } from "../../cluster/src/trust/signature.ts";
import { openWorker } from "../../cluster/src/worker/worker.ts";
import { AUTHORITY } from "../support/authority.ts";
import { natsIn } from "../support/nats.ts";
import { factsOf } from "../support/ram-cluster.ts";
import { EVIL, GOOD, TASK, type Piece } from "./bytes-pieces.ts";
import { countingLog } from "./counting-log.ts";

/** What the honest task has printed. */
export const PRINTED: readonly OutputChunk[] = [
  { task: TASK, attempt: 1, n: 0, at: 1, stream: "stdout", text: "said by the honest node" },
  { task: TASK, attempt: 1, n: 1, at: 2, stream: "stdout", text: "", last: true },
];
/** What is kept in streams. */
const KEPT = /^ocx\.(out|blob)\./;
const FIRST_WORD_MS = 5_000;
const LATE_MS = 20_000;

export interface BytesGround {
  write(piece: Piece): void;
  flush(): Promise<void>;
  /** An honest task, to its end. */
  run(value: number): Promise<Task["state"]>;
  /** All output of a task, as the API would give it out. */
  output(task: TaskId): Promise<OutputChunk[]>;
  /** What the audit log says of nodes that reached for what is not theirs. */
  trespasses(): Promise<AuditEntry[]>;
  serverLogBytes(): Promise<number>;
}

type Ends = (() => Promise<void>)[];

/** What all of it stands on. */
interface Site {
  readonly url: string;
  readonly folder: string;
  readonly coordinator: Coordinator;
  readonly keys: Readonly<Record<"coordinator" | "good" | "evil", NodeKeys>>;
  /** As a node knows its coordinator. */
  envelopesOf(self: NodeId, keys: NodeKeys): Envelopes;
}

/** `ends`: what is to be done when all is over, last first. */
export async function openBytesGround(log: Log, ends: Ends): Promise<BytesGround> {
  const site = await openSite(log, ends);
  const { coordinator, folder } = site;
  const good = await openGood(site, log, ends);
  const writing = await openWriting(site, ends);
  await runTask(coordinator, 0);
  for (const chunk of PRINTED) await good.append(outputOf(GOOD, TASK, 1), chunk);
  // Nobody does it; that it was given to this node is enough for its words to count.
  await coordinator.submit({ owner: "test", specs: [{ kind: "echo", input: {}, require: { nodes: [EVIL] } }] });
  return {
    ...writing,
    run: (value) => runTask(coordinator, value),
    async output(task) {
      const chunks: OutputChunk[] = [];
      for await (const chunk of coordinator.logs(task, { follow: false, signal: new AbortController().signal })) chunks.push(chunk);
      return chunks;
    },
    trespasses: () => trespassesIn(coordinator),
    serverLogBytes: async () => (await stat(path.join(folder, "nats-server.log"))).size,
  };
}

/** nats-server and the coordinator. */
async function openSite(log: Log, ends: Ends): Promise<Site> {
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
    sign: signer(keys.coordinator.seed),
    ...{
      coordinatorKey: keys.coordinator.publicKey,
      busUrls: () => [server.url],
      apiUrls: () => [],
      controlUrls: () => [],
      random: Math.random,
    },
    ...{ strategy: "balanced" as const, retentionMs: 86_400_000 },
  });
  ends.push(() => coordinator.stop());
  const keyOf = (): string => keys.coordinator.publicKey;
  return { url: server.url, folder, coordinator, keys, envelopesOf: (self, { seed }) => openEnvelopes({ self, seed, keyOf }) };
}

/** The honest worker, and its bus. */
async function openGood({ url, folder, coordinator, keys, envelopesOf }: Site, log: Log, ends: Ends): Promise<Bus> {
  const { cluster } = await coordinator.enrol({ id: GOOD, publicKey: keys.good.publicKey });
  const bus = await connectNats({ urls: [url], seed: keys.good.seed, node: GOOD, envelopes: envelopesOf(GOOD, keys.good), log });
  ends.push(() => bus.close());
  const worker = await openWorker({
    ...{ node: GOOD, cluster: cluster as ClusterId, bus, clock, log, folder: path.join(folder, "worker") },
    ...{ executors: new Map([["echo", echoExecutor({ clock }) as Executor]]), facts: async () => factsOf(), slots: 4, diskFloorMiB: 0 },
    policy: { current: () => DEFAULT_POLICY },
  });
  ends.push(() => worker.stop({ graceMs: 0 }));
  return bus;
}

/** The other node's key and the coordinator's, in other hands. */
async function openWriting({ url, coordinator, keys, envelopesOf }: Site, ends: Ends): Promise<Pick<BytesGround, "write" | "flush">> {
  await coordinator.enrol({ id: EVIL, publicKey: keys.evil.publicKey });
  // Their complaints about what the server forbids are their own.
  const quiet = countingLog().log;
  const connect = async (name: string, { seed }: NodeKeys, inboxPrefix: string): Promise<Connection> => {
    const connection = await openConnection({ urls: [url], seed, name, inboxPrefix, log: quiet });
    ends.push(() => connection.close());
    return connection;
  };
  const writers = {
    node: await connect(EVIL, keys.evil, inboxOf(EVIL)),
    coordinator: await connect("coordinator", keys.coordinator, COORDINATOR_INBOX),
  };
  // Shared with a bus of the product's own, which finds out for which life of the coordinator its words have to be.
  const seals = envelopesOf(EVIL, keys.evil);
  const bus = await connectNats({ urls: [url], seed: keys.evil.seed, node: EVIL, envelopes: seals, log: quiet });
  ends.push(() => bus.close());
  const load = { cpu: 0, memoryFreeMiB: 1, diskFreeMiB: 1, running: 0, held: 0 };
  await bus.request(heartbeatFrom(EVIL), { node: EVIL, boot: 1, n: 1, load, facts: factsOf(), held: [] }, FIRST_WORD_MS);
  // Its own streams take nothing without it.
  const word = wordFor(keys.coordinator.seed, EVIL);
  const place = (subject: string): string => (KEPT.test(subject) ? keptUnder(subject, word) : subject);
  let written = 0;
  return {
    write({ from, subject, reply, bytes, sealed, part }) {
      written += 1;
      const plain = typeof bytes === "function" ? bytes(written) : bytes;
      const whole = sealed && from === "node" ? seals.seal(subject, plain).bytes : plain;
      // Each wants an answer of its own: a second one to the same place nats-server would hold against whoever gives it.
      const options = {
        ...(reply !== undefined && { reply: `${reply}.${written}` }),
        ...(part !== undefined && { headers: partHeader(part) }),
      };
      writers[from].nc.publish(place(subject), whole, options);
    },
    flush: async () => void (await Promise.all([writers.node.nc.flush(), writers.coordinator.nc.flush()])),
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
  const { state } = await coordinator.waitFor(submitted?.id as TaskId, LATE_MS, new AbortController().signal);
  return state;
}

async function trespassesIn(coordinator: Coordinator): Promise<AuditEntry[]> {
  const found: AuditEntry[] = [];
  for (let after: number | undefined = 0; after !== undefined;) {
    const { entries, next }: AuditPage = await coordinator.auditLog({ after, limit: AUDIT.pageMax });
    found.push(...entries.filter(({ action }) => action === "node.trespassed"));
    after = next;
  }
  return found;
}
