/**
 * Three control nodes and two workers that only work, on machines that are really apart (hosts.ts), made as people make them
 * (control-trio.ts); and a sixth machine from which they are asked, so that a cut is a cut for whoever asks as well.
 *
 * C1. Each listens at its own address of the tailnet, at the ports that docs/high-availability.md names. Tailscale is a stub for each.
 * C2. `all` is the client with the addresses of all control nodes; `only` asks one, also one that is cut off from the others.
 */
import { mkdir, mkdtemp, readdir, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import path from "node:path";
import { openClient, type Client } from "@openclaw-cluster/contract/client/client";
import { nodeTransport } from "@openclaw-cluster/contract/client/node-transport";
import { childrenOf } from "../../scripts/bench/usage.ts";
import { openTrio, type ControlNodeProcess, type Trio } from "../../scripts/control-trio.ts";
import { startDaemon, type Manner, type StartedDaemon } from "../../scripts/daemon.ts";
import { until, writePolicy } from "./daemon.ts";
import { openHosts, type Host } from "./hosts.ts";
import { RUNNING, tailscaleStub, type TailscaleStub } from "./tailscale.ts";
import { isWhole } from "./whole-trio.ts";

export const CONTROL_NAMES = ["one", "two", "three"] as const;
export const WORKER_NAMES = ["four", "five"] as const;
export type ControlName = (typeof CONTROL_NAMES)[number];
export type WorkerName = (typeof WORKER_NAMES)[number];
type HostName = ControlName | WorkerName | "user";

export interface ControlHosts {
  readonly trio: Trio;
  /** Asks whichever control node answers. */
  readonly all: Client;
  readonly token: string;
  readonly worker: Readonly<Record<WorkerName, StartedDaemon>>;
  host(name: HostName): Host;
  /** Asks this one, from its own machine. */
  only(name: string): Client;
  /** A port of the outer loopback that leads to its API in the same way. */
  doorOf(name: string): number;
  home(name: string): string;
  /** Of the program that this daemon runs. */
  programPid(name: string, program: "etcd" | "nats-server"): Promise<number>;
  others(name: string): readonly ControlNodeProcess[];
  /** Everybody is up, stands by or leads, and etcd's members and the bus's servers are all there. */
  whole(): Promise<void>;
  end(): Promise<void>;
}

const API_PORT = 8_888;
const NAMES: readonly HostName[] = [...CONTROL_NAMES, ...WORKER_NAMES, "user"];
const SLOTS = 16;
const WHOLE_MS_MAX = 120_000;

export async function openControlHosts(): Promise<ControlHosts> {
  const ending: (() => Promise<unknown>)[] = [];
  const end = async (): Promise<void> => {
    for (let close = ending.pop(); close !== undefined; close = ending.pop()) await close();
  };
  try {
    return await open(ending, end);
  } catch (error) {
    await end();
    throw error;
  }
}

async function open(ending: (() => Promise<unknown>)[], end: () => Promise<void>): Promise<ControlHosts> {
  const folder = await mkdtemp(path.join(tmpdir(), "ocx-control-"));
  ending.push(() => rm(folder, { recursive: true, force: true, maxRetries: 3 }));
  const machine = await openMachines(ending);
  const user = machine("user").host;
  const doors = new Map<string, { readonly near: number; readonly far: number }>();
  for (const name of CONTROL_NAMES) {
    const api = { host: machine(name).host.address, port: API_PORT };
    doors.set(name, { near: await machine(name).host.reach(api), far: await user.reach(api) });
  }
  const door = (name: string) => doors.get(name) as { near: number; far: number };
  const hostHeaders = [...doors.values()].flatMap(({ near, far }) => [`127.0.0.1:${near}`, `127.0.0.1:${far}`]);
  const trio = await openTrio({
    folder,
    names: CONTROL_NAMES,
    settings: { slots: SLOTS },
    place(name) {
      const { host, manner } = machine(name);
      return { manner, host: host.address, api: { allowedHosts: hostHeaders }, door: `http://127.0.0.1:${door(name).far}` };
    },
  });
  ending.push(() => trio.end());
  const worker = {} as Record<WorkerName, StartedDaemon>;
  const tokenFile = path.join(trio.node("one").home, "admin.token");
  const join = async (name: WorkerName): Promise<void> => {
    const home = path.join(folder, name);
    await mkdir(home, { mode: 0o700 });
    await writePolicy(home, { allow: { commands: ["bash -c *"] } });
    const own = { nodeId: name, roles: ["worker"], slots: SLOTS, openclaw: { enabled: "off" } };
    worker[name] = await startDaemon(home, { ...own, coordinator: { url: trio.node("one").url, tokenFile } }, machine(name).manner);
    ending.push(() => worker[name].process.end());
  };
  await Promise.all(WORKER_NAMES.map(join));
  const token = (await readFile(tokenFile, "utf8")).trim();
  const lone = new Map<string, Client>();
  ending.push(() => Promise.all([...lone.values()].map((client) => client.close())));
  const stage: ControlHosts = {
    ...{ trio, all: trio.client, token, worker, end },
    host: (name) => machine(name).host,
    only(name) {
      const client = lone.get(name) ?? openClient({ url: `http://127.0.0.1:${door(name).near}`, token, transport: nodeTransport() });
      lone.set(name, client);
      return client;
    },
    doorOf: (name) => door(name).near,
    home: (name) => path.join(folder, name),
    async programPid(name, program) {
      const { pid } = trio.node(name);
      return until(`${program} of ${name}`, async () => {
        for (const child of await childrenOf(pid)) if ((await commandOf(child)).includes(program)) return child;
        return undefined;
      });
    },
    others: (name) => CONTROL_NAMES.filter((one) => one !== name).map((one) => trio.node(one)),
    whole: async () => void (await until("three control nodes, etcd members and nats-servers", () => isWhole(trio.client), WHOLE_MS_MAX)),
  };
  await trio.promote(...CONTROL_NAMES.slice(1));
  await stage.whole();
  await until("everybody has been told of everybody", () => isKnown(stage), WHOLE_MS_MAX);
  return stage;
}

async function openMachines(ending: (() => Promise<unknown>)[]): Promise<(name: string) => Machine> {
  const hosts = await openHosts();
  ending.push(() => hosts.end());
  const machines = new Map<string, Machine>();
  for (const name of NAMES) {
    const host = await hosts.add(name, []);
    const stub = stubFor(name, host.address);
    ending.push(async () => stub.remove());
    machines.set(name, { host, manner: { under: host.inside, env: stub.env } });
  }
  return (name) => machines.get(name) as Machine;
}

/** The workers know all control nodes, and each stream lies on all of them: before that, the first one must not die. */
async function isKnown({ home, host }: ControlHosts): Promise<true | undefined> {
  for (const name of WORKER_NAMES) {
    const told = await readFile(path.join(home(name), "data", "coordinators.json"), "utf8").catch(() => "");
    if (!CONTROL_NAMES.every((one) => told.includes(host(one).address))) return undefined;
  }
  for (const name of CONTROL_NAMES) {
    const streams = path.join(home(name), "data", "nats", "streams", "jetstream", "OCX", "streams");
    const there: readonly string[] = await readdir(streams).catch(() => []);
    if (!NAMES.every((one) => one === "user" || there.includes(`OCX_OUT_${one}`))) return undefined;
  }
  return true;
}

interface Machine {
  readonly host: Host;
  readonly manner: Manner;
}

function stubFor(name: string, ip: string): TailscaleStub {
  const stub = tailscaleStub();
  // Without a name in the tailnet: nothing here would resolve it.
  stub.says({ ...RUNNING, TailscaleIPs: [ip], Self: { ...RUNNING.Self, HostName: name, DNSName: "", TailscaleIPs: [ip] }, Peer: {} });
  return stub;
}

/** setpriv, which stands before it, becomes it. */
async function commandOf(pid: number): Promise<string> {
  const words = await readFile(`/proc/${pid}/cmdline`, "utf8").catch(() => "");
  return path.basename(words.split("\0")[0] ?? "");
}
