/**
 * Three control nodes, each a daemon of the public command with a folder of its own: one begins alone, two join it as workers and are
 * promoted, as people do it. For the demonstration, the benchmark and the tests.
 */
import { readFile } from "node:fs/promises";
import path from "node:path";
import type { ControlNode } from "@openclaw-cluster/contract/cluster";
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
  /** `command`: of another checkout, from now on. */
  start(command?: string): Promise<void>;
}

export interface Trio {
  readonly names: readonly string[];
  /** Asks all of them, whoever answers. */
  readonly client: Client;
  readonly token: string;
  node(name: string): ControlNodeProcess;
  isUp(name: string): boolean;
  /** Whoever leads, as soon as somebody does: one that stands by answers too, and may not have heard of anybody for a moment. */
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
  place?(name: string): TrioPlace;
}

/** How a daemon is started: inside of its own host, and where it listens there. */
export interface TrioPlace {
  readonly manner?: Manner;
  readonly host?: string;
  /** Further settings of its API. */
  readonly api?: object;
  /** Where the client finds it, if that is another address. */
  readonly door?: string;
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
    const urls = names.map((name) => (nodes.get(name) as Kept).door);
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
      leader: async () => node(await leading(all)),
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

const standing = (client: Client, name: string): Promise<string> =>
  seenIn(client, `${name} does not stand by as a control node`, ({ node, state }) => (node as string) === name && state === "standby");

const leading = (client: Client): Promise<string> => seenIn(client, "nobody leads", ({ state }) => state === "leader");

async function seenIn(client: Client, otherwise: string, fits: (one: ControlNode) => boolean): Promise<string> {
  const giveUpAt = performance.now() + STANDS_MS_MAX;
  for (;;) {
    const { control = [] } = await client.cluster();
    const found = control.find(fits);
    if (found !== undefined) return found.node;
    if (performance.now() > giveUpAt) throw new Error(otherwise);
    await new Promise((wake) => setTimeout(wake, LOOK_MS));
  }
}

interface Kept extends ControlNodeProcess {
  readonly door: string;
  readonly isUp: boolean;
  begin(settings: object): Promise<void>;
}

interface Planned {
  readonly name: string;
  readonly folder: string;
  readonly settings: object;
  readonly place: TrioPlace;
}

/** Its ports stay the same over its starts, as they do at home. */
async function plan({ name, folder, settings, place: { manner, host = "127.0.0.1", api: more, door } }: Planned): Promise<Kept> {
  const home = path.join(folder, name);
  const [api, nats] =
    manner?.under === undefined ? [await choosePort(host, 0, undefined, 0), await choosePort(host, 0, undefined, 0)] : [8888, 4222];
  const own = { nodeId: name, api: { port: api, host, ...more }, nats: { port: nats }, openclaw: { enabled: "off" }, ...settings };
  const url = `http://${host}:${api}`;
  let process: Running | undefined;
  let started = manner;
  const endBy = async (signal: NodeJS.Signals): Promise<void> => {
    const ending = process;
    process = undefined;
    await ending?.end(signal);
    await ending?.ended();
  };
  return {
    ...{ name, home, url, door: door ?? url },
    get pid() {
      return process?.pid ?? 0;
    },
    get isUp() {
      return process !== undefined;
    },
    async begin(more) {
      ({ process } = await startDaemon(home, { ...own, ...more }, started));
    },
    async start(command) {
      if (command !== undefined) started = { ...started, command };
      ({ process } = await startDaemon(home, undefined, started));
    },
    kill: () => endBy("SIGKILL"),
    stop: () => endBy("SIGTERM"),
  };
}
