/**
 * Three control nodes, each a daemon of the public command with a folder of its own: one begins alone, two join it as workers and are
 * promoted, as people do it. For the demonstration, the benchmark and the tests.
 */
import { readFile } from "node:fs/promises";
import path from "node:path";
import { openClient, type Client } from "@openclaw-cluster/contract/client/client";
import { nodeTransport } from "@openclaw-cluster/contract/client/node-transport";
import { NodeId } from "@openclaw-cluster/contract/ids";
import { choosePort } from "../cluster/src/system/free-port.ts";
import { startDaemon, type Manner } from "./daemon.ts";
import type { Running } from "./child.ts";

export interface ControlNodeProcess {
  readonly name: string;
  readonly home: string;
  readonly url: string;
  readonly pid: number;
  /** The daemon alone: what it runs goes on, as after a crash. */
  kill(): Promise<void>;
  /** In good order. */
  stop(): Promise<void>;
  start(): Promise<void>;
}

export interface Trio {
  readonly names: readonly string[];
  /** Asks all of them, whoever answers. */
  readonly client: Client;
  readonly token: string;
  node(name: string): ControlNodeProcess;
  isUp(name: string): boolean;
  /** Of whoever leads, by its own word. */
  leader(): Promise<ControlNodeProcess>;
  /** Makes them control nodes; resolves when all stand by. */
  promote(...names: string[]): Promise<void>;
  end(): Promise<void>;
}

export interface TrioOptions {
  readonly folder: string;
  readonly names?: readonly string[];
  readonly settings?: object;
  /** Of the first one, before the others come; etcd unless said. */
  readonly store?: "sqlite" | "etcd";
  /** How each daemon is started: inside of its own host, and where it listens there. */
  place?(name: string): { readonly manner?: Manner; readonly host?: string };
}

const LOOK_MS = 100;
const STANDS_MS_MAX = 120_000;

export async function openTrio({
  folder,
  names = ["one", "two", "three"],
  settings = {},
  store = "etcd",
  place,
}: TrioOptions): Promise<Trio> {
  const nodes = new Map<string, Kept>();
  const [first = "one", ...others] = names;
  const end = async (): Promise<void> => {
    await client?.close();
    for (const node of [...nodes.values()].toReversed()) await node.stop();
  };
  let client: Client | undefined;
  try {
    for (const name of names) nodes.set(name, await plan({ name, folder, settings, place: place?.(name) ?? {} }));
    const urls = names.map((name) => (nodes.get(name) as Kept).url);
    const lead = nodes.get(first) as Kept;
    await lead.begin({ store: { kind: store } });
    const tokenFile = path.join(lead.home, "admin.token");
    const token = (await readFile(tokenFile, "utf8")).trim();
    const all = openClient({ urls, token, transport: nodeTransport() });
    client = all;
    const joins = { roles: ["worker"], coordinator: { url: lead.url, tokenFile } };
    await Promise.all(others.map((name) => (nodes.get(name) as Kept).begin(joins)));
    const node = (name: string): Kept => nodes.get(name) as Kept;
    return {
      ...{ names, client: all, token, node, end },
      isUp: (name) => node(name).isUp,
      leader: async () => node((await all.cluster()).coordinator),
      async promote(...some) {
        for (const name of some) {
          await all.promoteNode({ id: NodeId.parse(name) });
          await standing(all, name);
        }
      },
    };
  } catch (error) {
    await end();
    throw error;
  }
}

async function standing(client: Client, name: string): Promise<void> {
  const giveUpAt = performance.now() + STANDS_MS_MAX;
  for (;;) {
    const { control = [] } = await client.cluster();
    if (control.some(({ node, state }) => (node as string) === name && state === "standby")) return;
    if (performance.now() > giveUpAt) throw new Error(`${name} does not stand by as a control node`);
    await new Promise((wake) => setTimeout(wake, LOOK_MS));
  }
}

interface Kept extends ControlNodeProcess {
  readonly isUp: boolean;
  begin(settings: object): Promise<void>;
}

interface Planned {
  readonly name: string;
  readonly folder: string;
  readonly settings: object;
  readonly place: { readonly manner?: Manner; readonly host?: string };
}

/** Its ports stay the same over its starts, as they do at home. */
async function plan({ name, folder, settings, place: { manner, host = "127.0.0.1" } }: Planned): Promise<Kept> {
  const home = path.join(folder, name);
  const [api, nats] =
    manner === undefined ? [await choosePort(host, 0, undefined, 0), await choosePort(host, 0, undefined, 0)] : [8888, 4222];
  const own = { nodeId: name, api: { port: api, host }, nats: { port: nats }, openclaw: { enabled: "off" }, ...settings };
  let process: Running | undefined;
  const endBy = async (signal: NodeJS.Signals): Promise<void> => {
    const ending = process;
    process = undefined;
    await ending?.end(signal);
    await ending?.ended();
  };
  return {
    ...{ name, home, url: `http://${host}:${api}` },
    get pid() {
      return process?.pid ?? 0;
    },
    get isUp() {
      return process !== undefined;
    },
    async begin(more) {
      ({ process } = await startDaemon(home, { ...own, ...more }, manner));
    },
    async start() {
      ({ process } = await startDaemon(home, undefined, manner));
    },
    kill: () => endBy("SIGKILL"),
    stop: () => endBy("SIGTERM"),
  };
}
