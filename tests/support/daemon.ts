/**
 * A cluster of real processes for a test file: a coordinator and workers as the public command starts them, with
 * SQLite and the coordinator's own nats-server.
 *
 * D1. Everything lies in one temporary folder, listens on free ports of loopback, and is ended by its own id with `end`.
 * D2. A daemon that was killed or stopped starts again with the same home, and a coordinator with the same port.
 */
import { mkdir, mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import path from "node:path";
import { setTimeout as pause } from "node:timers/promises";
import { openClient, type Client } from "@openclaw-cluster/contract/client/client";
import type { TaskId } from "@openclaw-cluster/contract/ids";
import { TERMINAL, type Task, type TaskState } from "@openclaw-cluster/contract/task";
import { nodeTransport } from "@openclaw-cluster/contract/client/node-transport";
import { childrenOf } from "../../scripts/bench/usage.ts";
import type { ProcessEnd } from "../../scripts/child.ts";
import { runCommand, startDaemon, type Manner, type StartedDaemon } from "../../scripts/daemon.ts";
import { ask, type Answered, type Question } from "./api-server.ts";

export interface TestDaemon {
  readonly home: string;
  readonly pid: number;
  /** Again, after it was killed or stopped. Rejects when it does not come up. */
  start(manner?: Manner): Promise<void>;
  /** `kill -9`. */
  kill(): Promise<void>;
  /** In good order. */
  stop(): Promise<ProcessEnd>;
  /** Resolves when it ended by itself. */
  ended(): Promise<ProcessEnd>;
}

export interface WorkerOptions {
  readonly slots?: number;
  readonly labels?: Readonly<Record<string, string>>;
  readonly diskFloorMiB?: number;
  /** What its policy.yaml says; the default policy without, and LENDING where it has models. */
  readonly policy?: object | string;
  readonly openclaw?: { readonly url: string; readonly token: string };
  /** As the settings have it. */
  readonly models?: object;
  /** The command line that it stands behind: a host's (hosts.ts). */
  readonly inside?: readonly string[];
  readonly env?: Readonly<Record<string, string>>;
  /** Of another build (builds.ts). */
  readonly command?: string;
}

export interface TestCluster {
  readonly folder: string;
  readonly url: string;
  /** The administrator's. */
  readonly token: string;
  readonly lead: TestDaemon;
  readonly client: Client;
  addWorker(id: string, options?: WorkerOptions): Promise<TestDaemon>;
  /** Takes over a daemon whose home a command has made. `manner` holds for each of its starts. */
  startHome(home: string, manner?: Manner): Promise<TestDaemon>;
  /** The command in a process of its own, against this cluster. */
  cli(...argv: string[]): Promise<CliEnd>;
  /** One plain HTTP request with the administrator's token. */
  ask(question: Question): Promise<Answered>;
  natsPid(): Promise<number>;
  end(): Promise<void>;
}

export interface CliEnd extends ProcessEnd {
  /** stdout as JSON; throws where it is none. */
  // oxlint-disable-next-line typescript/no-explicit-any -- what a command says is for expect to judge
  readonly json: any;
}

/** The default policy, but that models are lent also on a laptop that tests on its battery. */
const LENDING = { allow: { agents: ["*"], models: ["*"] }, battery: { models: true } };

const WAIT_MS = 30_000;
const LOOK_MS = 10;
/** Of one request that waits for a task's end. */
const ASK_S = 2;

/** Looks until there is something. */
export async function until<T>(what: string, find: () => T | undefined | Promise<T | undefined>, limitMs = WAIT_MS): Promise<T> {
  const giveUpAt = performance.now() + limitMs;
  for (;;) {
    const found = await find();
    if (found !== undefined) return found;
    if (performance.now() > giveUpAt) throw new Error(`waited ${limitMs} ms for: ${what}`);
    await pause(LOOK_MS);
  }
}

/** The task as soon as it is in this state. */
export async function untilState({ client }: Pick<TestCluster, "client">, id: TaskId, state: TaskState, limitMs = WAIT_MS): Promise<Task> {
  const look = async (): Promise<Task | undefined> => {
    const task = await client.getTask({ id });
    return task.state === state ? task : undefined;
  };
  return until(`${id} is ${state}`, look, limitMs);
}

/** The task as it ended. */
export async function untilOver({ client }: Pick<TestCluster, "client">, id: TaskId, limitMs = WAIT_MS): Promise<Task> {
  const look = async (): Promise<Task | undefined> => {
    const task = await client.getTask({ id, wait: ASK_S });
    return TERMINAL.has(task.state) ? task : undefined;
  };
  return until(`the end of ${id}`, look, limitMs);
}

/**
 * `settings`: further ones of the coordinator's cluster.yaml. `first`: how it is started once before, to die of it. `prepare`: before
 * anything is in its home. `manner`: how the coordinator is started each time.
 */
export async function startCluster(
  settings: object = {},
  { first, prepare, manner }: { first?: Manner; prepare?: (home: string) => void; manner?: Manner } = {},
): Promise<TestCluster> {
  const folder = await mkdtemp(path.join(tmpdir(), "ocx-daemon-"));
  const daemons: TestDaemon[] = [];
  const clients: Client[] = [];
  const end = async (): Promise<void> => {
    for (const client of clients) await client.close();
    // The coordinator last, so that the workers can say goodbye.
    for (const daemon of daemons.toReversed()) await daemon.stop();
    await rm(folder, { recursive: true, force: true, maxRetries: 3 });
  };
  const open = async (home: string, wanted?: object, manner?: Manner): Promise<{ daemon: TestDaemon; apiUrl: string | undefined }> => {
    const first = await startDaemon(home, wanted, manner);
    const daemon = keepDaemon(home, wanted, first, manner);
    daemons.push(daemon);
    return { daemon, apiUrl: first.apiUrl };
  };
  try {
    const home = path.join(folder, "lead");
    const common = { openclaw: { enabled: "off" }, log: { level: "warn" } };
    const wanted = { nodeId: "lead", roles: ["coordinator"], api: { port: 0 }, nats: { port: 0 }, ...common, ...settings };
    prepare?.(home);
    if (first !== undefined) await dieOf(first, home, wanted);
    const lead = await open(home, wanted, manner);
    const url = lead.apiUrl as string;
    const tokenFile = path.join(home, "admin.token");
    // One that shares its store is up before it leads.
    const token = (await until("the administrator's token", () => readFile(tokenFile, "utf8").catch(() => undefined))).trim();
    const client = openClient({ url, token, transport: nodeTransport() });
    clients.push(client);
    return {
      folder,
      url,
      token,
      lead: lead.daemon,
      client,
      async addWorker(id, { policy, openclaw, inside = [], env = {}, command, ...own } = {}) {
        const place = path.join(folder, id);
        await mkdir(place, { recursive: true, mode: 0o700 });
        if (policy !== undefined || own.models !== undefined) await writePolicy(place, policy ?? LENDING);
        const gatewayFile = path.join(place, "gateway.token");
        if (openclaw !== undefined) await writeFile(gatewayFile, openclaw.token, { mode: 0o600 });
        const gateway = openclaw && { openclaw: { url: openclaw.url, tokenFile: gatewayFile } };
        const settings = { nodeId: id, roles: ["worker"], coordinator: { url, tokenFile }, ...common, ...gateway, ...own };
        return (await open(place, settings, { under: inside, env, ...(command !== undefined && { command }) })).daemon;
      },
      startHome: async (place, manner) => (await open(place, undefined, manner)).daemon,
      cli: (...argv) => runCli(argv, { OPENCLAW_CLUSTER_HOME: home, OPENCLAW_CLUSTER_URL: url }),
      ask: (question) => ask(Number(new URL(url).port), token, question),
      natsPid: () => until("a nats-server", async () => (await childrenOf(lead.daemon.pid))[0]),
      end,
    };
  } catch (error) {
    await end();
    throw error;
  }
}

export interface TestPair {
  readonly cluster: TestCluster;
  readonly one: TestDaemon;
  readonly two: TestDaemon;
}

/** A coordinator, and two workers that are alike. */
export async function startPair(own: WorkerOptions = {}): Promise<TestPair> {
  const cluster = await startCluster();
  try {
    return { cluster, one: await cluster.addWorker("one", own), two: await cluster.addWorker("two", own) };
  } catch (error) {
    await cluster.end();
    throw error;
  }
}

async function dieOf(manner: Manner, home: string, settings: object): Promise<void> {
  const survived = await startDaemon(home, settings, manner).catch(() => undefined);
  if (survived === undefined) return;
  await survived.process.end("SIGKILL");
  throw new Error("it came up and was to die");
}

/** A node's policy.yaml; words as they are, anything else as JSON, which is YAML. */
export async function writePolicy(home: string, policy: object | string): Promise<void> {
  const text = typeof policy === "string" ? policy : JSON.stringify({ version: 1, ...policy });
  await writeFile(path.join(home, "policy.yaml"), text, { mode: 0o600 });
}

async function runCli(argv: readonly string[], env: Record<string, string>): Promise<CliEnd> {
  const end = await runCommand(argv, { env }).ended();
  return {
    ...end,
    get json() {
      return JSON.parse(end.stdout);
    },
  };
}

function keepDaemon(home: string, settings: object | undefined, first: StartedDaemon, always?: Manner): TestDaemon {
  let { process } = first;
  // The port that it chose is kept, so that clients and workers find it again.
  const { api } = (settings ?? {}) as { api?: object };
  const kept =
    settings && (first.apiUrl === undefined ? settings : { ...settings, api: { ...api, port: Number(new URL(first.apiUrl).port) } });
  const endBy = async (signal: NodeJS.Signals): Promise<ProcessEnd> => {
    await process.end(signal);
    return process.ended();
  };
  return {
    home,
    get pid() {
      return process.pid;
    },
    async start(manner) {
      ({ process } = await startDaemon(home, kept, { ...always, ...manner }));
    },
    kill: async () => void (await endBy("SIGKILL")),
    stop: () => endBy("SIGTERM"),
    ended: () => process.ended(),
  };
}
