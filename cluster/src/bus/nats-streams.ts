/**
 * The streams of the bus: two for each node, one for its output and one for its blobs. They hold only what can be lost: where
 * their folder is deleted, they are made again, empty.
 *
 * S1. A node's streams take nothing but what that node writes (nats-words.ts), and no more than its share (nats-shares.ts).
 * S2. Nobody purges a stream or deletes of it, the coordinator neither: to a server older than 2.12 an acknowledgement looks
 *     like such a request, and any node can have one sent there.
 * S3. The streams of a node that is gone are kept until what they hold is too old, a week at most, then removed.
 * S4. In a cluster each is kept on as many servers as the coordinator says. One that has no leader for LEADERLESS_MS_MAX, while JetStream
 *     itself has one and answers, has lost most of its copies: it is made again, empty, since its node could write nothing meanwhile.
 * S5. A server that was alone brings its streams along: in a cluster that has none yet, each is made on the coordinator's own server
 *     first, where JetStream takes what lies on the disk under that name, and is copied to the others from there. It has to be done
 *     within 30 s of the server's start: then it removes what belongs to no stream of the cluster. So for as long, and no longer, a
 *     coordinator that has landed on another server waits until it is at home.
 * S6. In a cluster no stream is given fewer copies, whatever is wanted: which ones stay would be chance, and the server that is about to
 *     be alone must have all of them. There it keeps one, because a lone server knows no other number.
 */
import {
  DiscardPolicy,
  jetstreamManager,
  RetentionPolicy,
  StorageType,
  type JetStreamManager,
  type StreamConfig,
  type StreamInfo,
} from "@nats-io/jetstream";
import { nanos } from "@nats-io/nats-core";
import type { NodeId } from "@openclaw-cluster/contract/ids";
import type { Log } from "../system/log.ts";
import { busError, type Connection } from "./nats-connection.ts";
import { tagOf } from "./nats-routes.ts";
import { shareOf, type Share } from "./nats-shares.ts";
import { anyBlob, anyOutput } from "./subjects.ts";

const OUTPUT = "OCX_OUT_";
const BLOBS = "OCX_BLOB_";
/** Of all nodes together, before each had its own. They stand where the others listen. */
const SHARED = ["OCX_OUTPUT", "OCX_BLOBS"];

export const outputStream = (node: NodeId): string => OUTPUT + node;
export const blobStream = (node: NodeId): string => BLOBS + node;

const KEPT_MS = 7 * 86_400_000;
/** Pieces of one attempt; beyond it the oldest go. Their bytes are limited by the worker. */
const PIECES_MAX = 65_536;

export const STREAM_NOT_FOUND = 10_059;
/** Above an election (9 s), and above a machine's restart; within it output waits, and is given up for its attempt after 30 s. */
const LEADERLESS_MS_MAX = 120_000;
/** JetStream's own, from a server's start on. */
const CARRY_MS_MAX = 30_000;
/** What is made takes three servers' disks 0.1 s each. */
const AT_ONCE = 4;

type Config = Partial<StreamConfig> & { name: string; subjects: string[] };

const COMMON = {
  retention: RetentionPolicy.Limits,
  storage: StorageType.File,
  discard: DiscardPolicy.Old,
  max_age: nanos(KEPT_MS),
  allow_direct: true,
  deny_purge: true,
  deny_delete: true,
} satisfies Partial<StreamConfig>;

function streamsOf(node: NodeId, word: string, { outputBytes, blobBytes }: Share, replicas: number): Config[] {
  const common = { ...COMMON, num_replicas: replicas };
  return [
    { ...common, name: outputStream(node), subjects: [anyOutput(node, word)], max_bytes: outputBytes, max_msgs_per_subject: PIECES_MAX },
    // A part that is written again, after a broken try, replaces itself.
    { ...common, name: blobStream(node), subjects: [anyBlob(node, word)], max_bytes: blobBytes, max_msgs_per_subject: 1 },
  ];
}

export interface StreamParts {
  wordOf(node: NodeId): string;
  /** On how many servers each is kept. */
  replicas(): number;
  readonly log: Log;
}

interface There {
  /** Every stream, as the leader of all knows them. */
  readonly names: ReadonlySet<string>;
  /** Of those that have a leader. */
  readonly infos: ReadonlyMap<string, StreamInfo>;
}

export class Streams {
  readonly #parts: StreamParts;
  /** S5: no stream was there yet, and not all are since. */
  #carrying = false;
  /** Since when it waits to be at home for that. */
  #awaySince: number | undefined;
  /** S4 */
  readonly #leaderlessSince = new Map<string, number>();

  constructor(parts: StreamParts) {
    this.#parts = parts;
  }

  /** Corrects what differs, makes what is missing, removes what nobody needs. Only the coordinator may. False: another look is needed. */
  async ensure(connection: Connection, nodes: readonly NodeId[], isOvertaken = () => false): Promise<boolean> {
    const { nc } = connection;
    try {
      const manager = await jetstreamManager(nc, { checkAPI: false });
      const there = await look(manager);
      await this.#removeShared(manager, there);
      const share = shareOf(nodes.length);
      // It says so itself; what is wanted may be heard before the server changes, or after.
      const isClustered = nc.info?.cluster !== undefined;
      const replicas = isClustered ? this.#parts.replicas() : 1;
      const plain = nodes.flatMap((node) => streamsOf(node, this.#parts.wordOf(node), share, replicas));
      const wanted = isClustered ? plain.map((config) => withAllCopies(config, there)) : plain;
      await removeUnneeded(manager, there, new Set(wanted.map(({ name }) => name)));
      this.#carrying = isClustered && (this.#carrying || !there.names.values().some(isOurs));
      if (this.#carrying && this.#waitsForHome(connection)) return false;
      const origin = this.#carrying ? nc.info?.server_name : undefined;
      const settled = await this.#each(wanted, async (config) => !isOvertaken() && this.#ensureOne(manager, config, there, origin));
      this.#carrying &&= !settled;
      return settled;
    } catch (error) {
      throw busError(error, "streams");
    }
  }

  /** S5 */
  #waitsForHome({ atHome }: Connection): boolean {
    const now = performance.now();
    this.#awaySince = atHome ? undefined : (this.#awaySince ?? now);
    return this.#awaySince !== undefined && now - this.#awaySince < CARRY_MS_MAX;
  }

  async #removeShared(manager: JetStreamManager, { names }: There): Promise<void> {
    for (const name of SHARED) {
      if (!names.has(name)) continue;
      await manager.streams.delete(name);
      const what = "removed a stream of an older version; the output or large results in it are gone, tasks are not";
      this.#parts.log.warn({ stream: name }, what);
    }
  }

  /** One that fails keeps no other one back; then throws what the first of them threw. */
  async #each(wanted: readonly Config[], ensureOne: (config: Config) => Promise<boolean>): Promise<boolean> {
    const done: PromiseSettledResult<boolean>[] = [];
    for (let first = 0; first < wanted.length; first += AT_ONCE)
      done.push(...(await Promise.allSettled(wanted.slice(first, first + AT_ONCE).map(ensureOne))));
    const failed = done.find((one) => one.status === "rejected");
    if (failed !== undefined) throw failed.reason;
    return done.every((one) => one.status === "fulfilled" && one.value);
  }

  async #ensureOne(manager: JetStreamManager, config: Config, { names, infos }: There, origin: string | undefined): Promise<boolean> {
    const { name } = config;
    const there = infos.get(name)?.config;
    if (there !== undefined || !names.has(name)) this.#leaderlessSince.delete(name);
    if (names.has(name) && there === undefined) return await this.#awaitLeader(manager, config);
    if (there !== undefined) await (differs(config, there) && update(manager, config));
    else if (origin === undefined) await manager.streams.add(config);
    else await this.#carryOver(manager, config, origin);
    return true;
  }

  /** S5 */
  async #carryOver(manager: JetStreamManager, config: Config, origin: string): Promise<void> {
    const { state } = await manager.streams.add({ ...config, num_replicas: 1, placement: { cluster: "", tags: [tagOf(origin)] } });
    await update(manager, config);
    if (state.messages > 0)
      this.#parts.log.info({ stream: config.name, messages: state.messages }, "carried a stream over into the cluster");
  }

  /** S4 */
  async #awaitLeader(manager: JetStreamManager, config: Config): Promise<boolean> {
    const now = performance.now();
    const since = this.#leaderlessSince.get(config.name) ?? now;
    this.#leaderlessSince.set(config.name, since);
    if (now - since < LEADERLESS_MS_MAX) return false;
    await manager.streams.delete(config.name);
    await manager.streams.add(config);
    this.#leaderlessSince.delete(config.name);
    const what =
      "a stream of the bus had lost most of its copies and was made again; the output or large results in it are gone, tasks are not";
    this.#parts.log.error({ stream: config.name }, what);
    return true;
  }
}

/** S6 */
function withAllCopies(config: Config, { infos }: There): Config {
  return { ...config, num_replicas: Math.max(config.num_replicas ?? 1, infos.get(config.name)?.config.num_replicas ?? 1) };
}

async function look(manager: JetStreamManager): Promise<There> {
  const names = new Set<string>();
  const infos = new Map<string, StreamInfo>();
  for await (const info of manager.streams.list()) infos.set(info.config.name, info);
  // Only the streams that have a leader are listed.
  for await (const name of manager.streams.names()) names.add(name);
  return { names: names.union(new Set(infos.keys())), infos };
}

/** Where a stream has begun is no place that it has to stay at. */
async function update(manager: JetStreamManager, config: Config): Promise<void> {
  const anywhere: object = { ...config, placement: undefined };
  await manager.streams.update(config.name, anywhere as Config);
}

const isOurs = (name: string): boolean => name.startsWith(OUTPUT) || name.startsWith(BLOBS);

async function removeUnneeded(manager: JetStreamManager, { infos }: There, kept: ReadonlySet<string>): Promise<void> {
  for (const [name, { state }] of infos) {
    // S3
    if (isOurs(name) && !kept.has(name) && state.messages === 0) await manager.streams.delete(name);
  }
}

function differs(wanted: Config, there: StreamConfig): boolean {
  const actual = new Map<string, unknown>(Object.entries(there));
  return Object.entries(wanted).some(([key, value]) => JSON.stringify(value) !== JSON.stringify(actual.get(key)));
}
