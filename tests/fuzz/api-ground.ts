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
import { INVITE } from "@openclaw-cluster/contract/join";
import { Scope } from "@openclaw-cluster/contract/scopes";
import type { TaskSpec } from "@openclaw-cluster/contract/task-spec";
import { openApi } from "../../cluster/src/api/api.ts";
import { AUTH_FAILURES } from "../../cluster/src/api/auth-failures.ts";
import { openSqliteStore } from "../../cluster/src/store/sqlite.ts";
import { systemClock, type Clock } from "../../cluster/src/system/clock.ts";
import { silentLog, type Log } from "../../cluster/src/system/log.ts";
import { EMPTY_CHAIN, follow } from "../../cluster/src/trust/audit-chain.ts";
import { readJoinCode } from "../../cluster/src/trust/join-code.ts";
import { joinKey, makeJoinRequest } from "../../cluster/src/trust/join-proof.ts";
import { createNodeKeys } from "../../cluster/src/trust/keys.ts";
import { createToken } from "../../cluster/src/trust/token.ts";
import { listAll, Promises } from "../support/promises.ts";
import { startRamCluster, type RamCluster } from "../support/ram-cluster.ts";
import { exchange, type Answer } from "./exchange.ts";
import { describedIn, NODES, TOKEN, WAITING, type Described, type OpenApi, type Shot, type Who } from "./requests.ts";
import type { Definitions } from "./from-schema.ts";

export interface ApiGround {
  readonly cluster: RamCluster;
  readonly client: Client;
  readonly operations: readonly Described[];
  readonly definitions: Definitions;
  /** Of the coordinator, which no answer may name. */
  readonly folders: readonly string[];
  shoot(shot: Shot): Promise<Answer>;
  /** What a round has broken on purpose: nodes that were removed, slots that are taken for ten minutes. */
  heal(): Promise<void>;
  /** What is not as it should be, now that all is over. */
  broken(): Promise<string[]>;
  end(): Promise<void>;
}

/** The one that works; no request knows its name. */
export const WORKER = "labourer";
const HOUR_MS = 3_600_000;
/** Nodes that requests speak of; the last of the list is never there. */
const TARGETS: readonly string[] = NODES.slice(0, -1);

export async function openApiGround(log: Log = silentLog): Promise<ApiGround> {
  const folder = await mkdtemp(path.join(tmpdir(), "ocx-fuzz-"));
  const backups = path.join(folder, "backups");
  const store = await openSqliteStore({ path: path.join(folder, "cluster.db"), backups });
  const cluster = await startRamCluster({ store, log, backups: { folder: backups, everyMs: HOUR_MS, keep: 2 } });
  const clock = new MovableClock();
  const api = await openApi({ coordinator: cluster.coordinator, host: "127.0.0.1", port: 0, clock, log });
  const tokens = await makeTokens(cluster);
  const client = openClient({ url: api.url, token: tokens.admin as string, transport: nodeTransport() });
  await cluster.addWorker(WORKER);
  const document = await readDocument(api.port, tokens.viewer as string);
  const ground: ApiGround = {
    cluster,
    client,
    operations: describedIn(document),
    definitions: document.components.schemas,
    folders: [folder, process.cwd()],
    async shoot(shot) {
      const token = tokens[shot.as];
      const headers = token === undefined ? shot.headers : [["authorization", `Bearer ${token}`] as const, ...shot.headers];
      const answer = await exchange(api.port, { ...shot, headers });
      if (answer.status === 429) clock.moveOn(AUTH_FAILURES.windowMs);
      return answer;
    },
    heal: () => heal(client, cluster),
    broken: () => brokenIn(client),
    async end() {
      await client.close();
      await api.close();
      await cluster.stop();
      await rm(folder, { recursive: true, force: true });
    },
  };
  const waiting: TaskSpec = { kind: "command", input: { argv: ["true"] }, require: { labels: { never: "here" } } };
  await client.submitMany(Array.from({ length: WAITING }, () => waiting));
  for (let n = 0; n < WAITING; n += 1) await client.run({ kind: "echo", input: { value: n } });
  await ground.heal();
  return ground;
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

async function heal(client: Client, { coordinator }: RamCluster): Promise<void> {
  await endAll(client);
  for (let n = 1; n <= WAITING; n += 1) await client.retry({ id: taskId(n) });
  if (!coordinator.tokens().some(({ id }) => id === TOKEN))
    await coordinator.addToken({ id: TOKEN, hash: createToken().hash, scope: "viewer", name: TOKEN, createdAt: systemClock.wall() });
  const { nodes } = await client.nodes({ all: true });
  for (const { id } of nodes.filter((node) => (node.id !== WORKER && !TARGETS.includes(node.id)) || node.state === "revoked"))
    await client.removeNode({ id });
  const present = new Set((await client.nodes({ all: true })).nodes.map(({ id }) => id as string));
  for (const id of TARGETS.filter((name) => !present.has(name))) await letIn(client, id as NodeId);
  await client.resume({ id: WORKER as NodeId });
  await client.patchNode({ id: WORKER as NodeId, slots: 4 });
}

/** With a code, as machines come; so the node waits to be approved. */
async function letIn(client: Client, node: NodeId): Promise<void> {
  const keys = createNodeKeys();
  const { code } = await client.invite({ approve: node !== TARGETS[0], ttlMs: INVITE.ttlDefaultMs });
  const { invite, secret } = readJoinCode(code);
  const said = { invite, node, publicKey: keys.publicKey, hostname: "fuzz", os: "linux" };
  await client.join(makeJoinRequest(said, joinKey(secret), keys.seed));
}

async function endAll(client: Client): Promise<void> {
  const open = ["scheduled", "queued", "leased", "running", "waiting"] as const;
  for (let cursor: number | undefined, first = true; first || cursor !== undefined; first = false) {
    const report = await client.bulk({ action: "cancel", filter: { state: [...open] }, ...(cursor !== undefined && { cursor }) });
    cursor = report.next;
  }
}

/** Every promise to every task, the audit log's chain, and that the cluster still works. */
async function brokenIn(client: Client): Promise<string[]> {
  const found: string[] = [];
  const end = await client.run({ kind: "echo", input: { value: "still here" } });
  if (end.state !== "succeeded") found.push(`a task after all of it is ${end.state}`);
  await endAll(client);
  const promises = new Promises();
  const all = await listAll(client);
  for (const { id } of all) {
    await client.getTask({ id, wait: 30 });
    promises.submitted(id);
  }
  found.push(...(await promises.broken(client)));
  let head = EMPTY_CHAIN;
  for (let more = true; more;) {
    const page = await client.audit({ after: head.seq, limit: 500 });
    const reading = follow(head, page.entries);
    if (reading.broken !== undefined) return [...found, `the audit log is broken at ${reading.broken}`];
    head = reading.head;
    more = page.next !== undefined;
  }
  return found;
}
