/**
 * What the fuzzing shoots at: the real API on a free port, before the real coordinator on SQLite, with a worker that does the
 * tasks which get so far. Nodes and tasks are put right again between rounds, so that requests go on having something to hit.
 *
 * G1. Wrong tokens shut their address out for a minute; here the API's clock is moved on instead, so that the others get their turn.
 */
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import path from "node:path";
import { openClient, type Client } from "@openclaw-cluster/contract/client/client";
import { nodeTransport } from "@openclaw-cluster/contract/client/node-transport";
import { taskId, type NodeId } from "@openclaw-cluster/contract/ids";
import type { NodeFacts } from "@openclaw-cluster/contract/node";
import { Scope } from "@openclaw-cluster/contract/scopes";
import type { TaskSpec } from "@openclaw-cluster/contract/task-spec";
import { openApi } from "../../cluster/src/api/api.ts";
import { AUTH_FAILURES } from "../../cluster/src/api/auth-failures.ts";
import { DEFAULT_POLICY } from "../../cluster/src/core/policy.ts";
import type { Executor } from "../../cluster/src/executors/executors.ts";
import { openSqliteStore } from "../../cluster/src/store/sqlite.ts";
import { systemClock, type Clock } from "../../cluster/src/system/clock.ts";
import { silentLog, type Log } from "../../cluster/src/system/log.ts";
import { createNodeKeys } from "../../cluster/src/trust/keys.ts";
import { createToken } from "../../cluster/src/trust/token.ts";
import { lentModel } from "../support/fake-models.ts";
import { deskOf, TestSight } from "../support/model-sight.ts";
import { startRamCluster, type RamCluster } from "../support/ram-cluster.ts";
import { brokenIn, endAll } from "./cluster-state.ts";
import { Deserter, DESERTER } from "./deserter.ts";
import { exchange, type Answer } from "./exchange.ts";
import { FeedListener } from "./feed-listener.ts";
import type { Definitions } from "./from-schema.ts";
import { endsByItself } from "./judge.ts";
import { Members } from "./members.ts";
import { repeater } from "./repeater.ts";
import {
  describedIn,
  DOUBTFUL,
  MODEL_REQUESTS,
  NODES,
  TOKEN,
  WAITING,
  WORKER,
  type Described,
  type OpenApi,
  type Shot,
  type Who,
} from "./requests.ts";

export interface ApiGround {
  readonly cluster: RamCluster;
  readonly client: Client;
  readonly operations: readonly Described[];
  readonly definitions: Definitions;
  /** Of the coordinator, which no answer may name. */
  readonly folders: readonly string[];
  /** The feed of events, as an administrator hears it, and somebody to whom the tasks are others'. */
  readonly feeds: readonly FeedListener[];
  /** What was done so far to put things right, and stands in the log. */
  readonly mended: () => number;
  shoot(shot: Shot): Promise<Answer>;
  /** What a round has broken on purpose: nodes that were removed, slots that are taken for ten minutes. And what this operation needs. */
  heal(operation: string): Promise<void>;
  /** What is not as it should be, now that all is over. */
  broken(): Promise<string[]>;
  end(): Promise<void>;
}

/** What agents are told, and print: there is output to be read. As a stream of events sees it, of all that may stand in it. */
const WORDS = ["one", "\n\n", "a\nevent: end\ndata: {}\n\nb", "id: 9.9\n", "\u2028\r\n\0", "\ud800", "💥".repeat(300), "x".repeat(20_000)];
const HOUR_MS = 3_600_000;
const WITH_AGENTS: Partial<NodeFacts> = {
  kinds: ["echo", "agent"],
  openclaw: { version: "2026.9.6", reachable: true, agents: ["main"], models: [] },
};
/** Nodes that requests speak of; the last of the list is never there, the first waits to be let in. */
const TARGETS = NODES.slice(0, -1) as readonly string[] as readonly NodeId[];
const KEPT: readonly string[] = [WORKER, DESERTER, ...TARGETS];

export async function openApiGround(log: Log = silentLog): Promise<ApiGround> {
  const folder = await mkdtemp(path.join(tmpdir(), "ocx-fuzz-"));
  const backups = path.join(folder, "backups");
  const store = await openSqliteStore({ path: path.join(folder, "cluster.db"), backups });
  const cluster = await startRamCluster({
    store,
    log,
    executors: [repeater as Executor],
    backups: { folder: backups, everyMs: HOUR_MS, keep: 2 },
  });
  const clock = new MovableClock();
  const api = await openApi({ coordinator: cluster.coordinator, models: deskOf(sightOf()), host: "127.0.0.1", port: 0, clock, log });
  const tokens = await makeTokens(cluster);
  const client = openClient({ url: api.url, token: tokens.admin as string, transport: nodeTransport() });
  const keys = createNodeKeys();
  await cluster.addWorker(WORKER, WITH_AGENTS, DEFAULT_POLICY, keys.publicKey);
  const members = await Members.open(cluster.coordinator, WORKER as NodeId, keys);
  const document = await readDocument(api.port, tokens.viewer as string);
  const feeds = await Promise.all([tokens.admin, tokens.viewer].map((token) => FeedListener.open(api.port, token as string)));
  const waiting: TaskSpec = { kind: "command", input: { argv: ["true"] }, require: { labels: { never: "here" } } };
  await client.submitMany(Array.from({ length: WAITING }, () => waiting));
  const deserter = await Deserter.open(client, cluster, DOUBTFUL);
  for (const message of WORDS) await client.run({ kind: "agent", input: { message } });
  const ground: ApiGround = {
    ...{ cluster, client, operations: describedIn(document), definitions: document.components.schemas, feeds },
    folders: [folder, process.cwd()],
    mended: () => members.joined,
    async shoot(shot) {
      const proven = shot.unsigned && (await members.sign(shot.unsigned));
      const token = tokens[shot.as];
      const headers = token === undefined ? shot.headers : [["authorization", `Bearer ${token}`] as const, ...shot.headers];
      const sent = { ...shot, headers, body: proven?.body ?? shot.body };
      const answer = await exchange(api.port, sent, { toItsEnd: endsByItself(shot) });
      if (answer.status === 429) clock.moveOn(AUTH_FAILURES.windowMs);
      if (answer.status === 200) await proven?.granted(answer.text);
      if (answer.status === 200 && shot.operation === "invite") await members.invited(answer.text);
      return answer;
    },
    async heal(operation) {
      clock.moveOn(AUTH_FAILURES.windowMs);
      await heal(client, cluster, members);
      if (operation === "answer") await deserter.desert();
    },
    broken: async () => [...feeds.flatMap(({ faults }) => faults), ...(await brokenIn(client))],
    async end() {
      for (const feed of feeds) feed.end();
      await deserter.close();
      await client.close();
      await api.close();
      await cluster.stop();
      await rm(folder, { recursive: true, force: true });
    },
  };
  await ground.heal("");
  return ground;
}

/** A book of requests for models, one that has failed and one that waits, and what plans can choose among. */
function sightOf(): TestSight {
  const sight = new TestSight([lentModel("qwen3:8b"), lentModel("qwen3:8b", { node: "nas", state: "cold" })]);
  const [failed] = MODEL_REQUESTS.map((id) => sight.note(id));
  failed?.refused("node_lost", "nobody answered", 1);
  return sight;
}

/** G1. */
class MovableClock implements Clock {
  readonly wall = systemClock.wall;
  readonly after = systemClock.after;
  readonly soon = systemClock.soon;
  private movedMs = 0;

  monotonic(): number {
    return systemClock.monotonic() + this.movedMs;
  }

  moveOn(ms: number): void {
    this.movedMs += ms;
  }
}

/** Of each scope one, and one that was never made. */
async function makeTokens({ coordinator }: RamCluster): Promise<Partial<Record<Who, string>>> {
  const tokens: Partial<Record<Who, string>> = { stranger: createToken().token };
  for (const scope of Scope.options) {
    const { token, id, hash } = createToken();
    await coordinator.addToken({ id, hash, scope, name: scope, createdAt: systemClock.wall() });
    tokens[scope] = token;
  }
  return tokens;
}

async function readDocument(port: number, token: string): Promise<OpenApi> {
  const headers = [["authorization", `Bearer ${token}`]] as const;
  const { text } = await exchange(port, { method: "GET", target: "/openapi.json", headers, body: undefined });
  return JSON.parse(text) as OpenApi;
}

async function heal(client: Client, { coordinator }: RamCluster, members: Members): Promise<void> {
  await endAll(client);
  for (let n = 1; n <= WAITING; n += 1) await client.retry({ id: taskId(n) });
  if (!coordinator.tokens().some(({ id }) => id === TOKEN))
    await coordinator.addToken({ id: TOKEN, hash: createToken().hash, scope: "viewer", name: TOKEN, createdAt: systemClock.wall() });
  const { nodes } = await client.nodes({ all: true });
  for (const { id } of nodes.filter((node) => !KEPT.includes(node.id))) {
    await client.removeNode({ id });
    members.forget(id);
  }
  await members.useUp();
  for (const [n, id] of TARGETS.entries()) await members.restore(id, n === 0 ? "pending" : "approved");
  await client.resume({ id: WORKER as NodeId });
  await client.patchNode({ id: WORKER as NodeId, slots: 4 });
}
