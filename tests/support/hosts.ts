/**
 * Machines on a network of their own, all of them on this one: a network namespace for each, joined by a bridge in a
 * further one. Their links can be cut, made deaf or mute, lose packets, and be given another address.
 *
 * H1. A host reaches nothing but the ports of the outer loopback that it was given. Each has the same number on the
 *     host's own loopback, as through an SSH tunnel (docs/deployment.md): a forwarder in the host, the bridge, a
 *     forwarder in the hub, a local socket, and a chaos proxy in this process.
 *     Hosts reach each other over the bridge; a test reaches what is in one through `reach`, as if it were there.
 * H2. A cut is silent: no end, no reset, and a carrier that is gone, as with a cable that was pulled.
 * H3. The outer network is left alone. What is made here is named after this process, goes with `end`, and what a dead
 *     process has left goes with the next opening.
 */
import { spawnSync } from "node:child_process";
import { existsSync } from "node:fs";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import path from "node:path";
import { fileURLToPath } from "node:url";
import { run, type Running } from "../../scripts/child.ts";
import { openChaosProxy, type ChaosProxy } from "./chaos-proxy.ts";

export interface Host {
  /** What stands before a command that is to run in it. */
  readonly inside: readonly string[];
  /** On the network that it shares with the others. */
  readonly address: string;
  /** The far end of each way out of it, by the port it leads to. */
  readonly ways: ReadonlyMap<number, ChaosProxy>;
  /**
   * A port of the outer loopback, `at` or a free one. What connects to it connects from this host to that place, which
   * need not be there yet.
   */
  reach(place: { readonly host: string; readonly port: number }, at?: number): Promise<number>;
  cut(): Promise<void>;
  heal(): Promise<void>;
  /** Nothing it says leaves it, or nothing that is said to it arrives. `heal` ends either. */
  silence(direction: "mute" | "deaf"): Promise<void>;
  /** So many of a hundred packets are lost by chance, each way. `heal` ends it. */
  lose(percent: number): Promise<void>;
  /** To see that `lose` has struck: since then. */
  packets(): Promise<{ readonly came: number; readonly lost: number }>;
  /** Another address on the same network, as from one Wi-Fi to the next; the old one is gone. */
  move(): Promise<void>;
}

export interface Hosts {
  add(name: string, ports: readonly number[]): Promise<Host>;
  end(): Promise<void>;
}

/** Of what tc says of a queue. */
interface Queue {
  readonly kind: string;
  readonly packets: number;
  readonly drops: number;
}

const FORWARD = fileURLToPath(new URL("./forward.child.ts", import.meta.url));
const NAME = /^ocx(\d+)\.\d+-/;
/** 100.64.0.0/24, of the range that Tailscale uses too: hosts from 10, after a move from 130, the hub's ends of their tunnels from 200. */
const address = (last: number): string => `100.64.0.${last}`;
const HOSTS_MAX = 50;
let opened = 0;

/** Why there can be no hosts here; undefined where there can. */
export function whyNoHosts(): string | undefined {
  if (process.platform !== "linux") return "network namespaces are Linux's";
  if (process.getuid?.() !== 0) return "network namespaces need root";
  const probe = `ocx${process.pid}.${(opened += 1)}-probe`;
  if (spawnSync("ip", ["netns", "add", probe]).status !== 0) return "`ip netns add` fails here, or there is no ip (iproute2)";
  const veth = spawnSync("ip", ["-n", probe, "link", "add", "type", "veth"]);
  spawnSync("ip", ["netns", "del", probe]);
  return veth.status === 0 ? undefined : "this kernel makes no veth pairs";
}

/** Why their links cannot lose packets, where there can be hosts. */
export function whyNoLoss(): string | undefined {
  if (spawnSync("tc", ["-V"]).status !== 0) return "there is no tc (iproute2)";
  const probe = `ocx${process.pid}.${(opened += 1)}-probe`;
  const tried = [
    ["ip", "netns", "add", probe],
    ["tc", "-n", probe, "qdisc", "add", "dev", "lo", "clsact"],
    ["tc", "-n", probe, "filter", "add", "dev", "lo", "ingress", "bpf", "da", "bytecode", lossFilter(1)],
  ].every(([program, ...argv]) => spawnSync(program as string, argv).status === 0);
  spawnSync("ip", ["netns", "del", probe]);
  return tried ? undefined : "this kernel has no clsact or no BPF filter";
}

export async function openHosts(): Promise<Hosts> {
  await sweep();
  const prefix = `ocx${process.pid}.${(opened += 1)}-`;
  const hub = `${prefix}hub`;
  const folder = await mkdtemp(path.join(tmpdir(), "ocx-hosts-"));
  const forwarders: Running[] = [];
  const proxies: ChaosProxy[] = [];
  const end = async (): Promise<void> => {
    for (const forwarder of forwarders) await forwarder.end("SIGKILL");
    for (const proxy of proxies) await proxy.close();
    for (const namespace of await namespaces()) if (namespace.startsWith(prefix)) await remove(namespace);
    await rm(folder, { recursive: true, force: true });
  };
  const forward = async (namespace: string, ways: readonly object[]): Promise<void> => {
    if (ways.length === 0) return;
    // The kernel ends it with this process, however that ends.
    const argv = [...insideOf(namespace), "setpriv", "--pdeathsig", "KILL", "--", process.execPath, FORWARD, JSON.stringify(ways)];
    const forwarder = run(argv[0] as string, argv.slice(1));
    forwarders.push(forwarder);
    await forwarder.says(/ready/);
  };
  try {
    await ip("netns", "add", hub);
    await ip("-n", hub, "link", "add", "br0", "type", "bridge");
    await ip("-n", hub, "link", "set", "br0", "up");
  } catch (error) {
    await end();
    throw error;
  }
  let count = 0;
  return {
    async add(name, ports) {
      if (count >= HOSTS_MAX) throw new Error(`no more than ${HOSTS_MAX} hosts`);
      const host = await addHost({ hub, namespace: prefix + name, n: (count += 1) });
      const ways = new Map<number, ChaosProxy>();
      for (const port of ports) {
        const proxy = await openChaosProxy({ listen: { path: path.join(folder, `${name}-${port}`) }, target: { port } });
        proxies.push(proxy);
        ways.set(port, proxy);
      }
      const tunnel = host.hubAddress;
      await forward(
        hub,
        ports.map((port) => ({ listen: { host: tunnel, port }, target: { path: path.join(folder, `${name}-${port}`) } })),
      );
      await forward(
        prefix + name,
        ports.map((port) => ({ listen: { host: "127.0.0.1", port }, target: { host: tunnel, port } })),
      );
      const reach: Host["reach"] = async (place, at = 0) => {
        const socket = path.join(folder, `${name}-out-${proxies.length}`);
        await forward(prefix + name, [{ listen: { path: socket }, target: place }]);
        const proxy = await openChaosProxy({ listen: { host: "127.0.0.1", port: at }, target: { path: socket } });
        proxies.push(proxy);
        return proxy.port;
      };
      // Not spread: the address is another one after a move.
      return Object.assign(host, { ways, reach });
    },
    end,
  };
}

/**
 * Classic BPF, which every tc speaks and this kernel may run where it has no netem: a number by chance, and below the
 * bound the packet is dropped, else left to whoever comes next.
 */
function lossFilter(percent: number): string {
  const random = 0xffff_f000 + 56;
  const bound = Math.floor((percent / 100) * 0x1_0000_0000);
  const [drop, pass] = [2, 0xffff_ffff];
  return `4,32 0 0 ${random},53 1 0 ${bound},6 0 0 ${drop},6 0 0 ${pass}`;
}

async function addHost(made: {
  hub: string;
  namespace: string;
  n: number;
}): Promise<Omit<Host, "ways" | "reach"> & { hubAddress: string }> {
  const { hub, namespace, n } = made;
  const port = `port${n}`;
  const hubAddress = address(200 + n);
  const own = [address(10 + n), address(130 + n)] as [string, string];
  let routes: string[][] = [];
  const ends = [
    [hub, port],
    [namespace, "eth0"],
  ] as const;
  let loses = false;
  await ip("-n", hub, "address", "add", `${hubAddress}/24`, "dev", "br0");
  await ip("netns", "add", namespace);
  await ip("-n", hub, "link", "add", port, "type", "veth", "peer", "name", "eth0", "netns", namespace);
  await ip("-n", hub, "link", "set", port, "master", "br0", "up");
  await ip("-n", namespace, "link", "set", "lo", "up");
  await ip("-n", namespace, "address", "add", `${own[0]}/24`, "dev", "eth0");
  await ip("-n", namespace, "link", "set", "eth0", "up");
  return {
    hubAddress,
    inside: insideOf(namespace),
    get address() {
      return own[0];
    },
    cut: () => ip("-n", hub, "link", "set", port, "down"),
    async heal() {
      for (const route of routes) await ip("-n", route[0] as string, "route", "del", "blackhole", route[1] as string);
      routes = [];
      if (loses) for (const [place, device] of ends) await tc("-n", place, "qdisc", "del", "dev", device, "clsact");
      loses = false;
      await ip("-n", hub, "link", "set", port, "up");
    },
    async lose(percent) {
      for (const [place, device] of ends) {
        // Else the kernel hands 64 KiB over as one packet, and loses them as one.
        await ip("-n", place, "link", "set", device, "gso_max_segs", "1");
        await tc("-n", place, "qdisc", "add", "dev", device, "clsact");
        loses = true;
        await tc("-n", place, "filter", "add", "dev", device, "ingress", "bpf", "da", "bytecode", lossFilter(percent));
      }
    },
    async packets() {
      const sums = { came: 0, lost: 0 };
      for (const [place, device] of ends) {
        for (const { kind, packets, drops } of JSON.parse(await tc("-n", place, "-s", "-j", "qdisc", "show", "dev", device)) as Queue[]) {
          if (kind !== "clsact") continue;
          sums.came += packets;
          sums.lost += drops;
        }
      }
      return sums;
    },
    async silence(direction) {
      const route = direction === "mute" ? [namespace, hubAddress] : [hub, own[0]];
      await ip("-n", route[0] as string, "route", "add", "blackhole", route[1] as string);
      routes.push(route);
    },
    async move() {
      const [from, to] = own;
      // In this order: with the first address of a network the kernel removes the further ones too.
      await ip("-n", namespace, "address", "del", `${from}/24`, "dev", "eth0");
      await ip("-n", namespace, "address", "add", `${to}/24`, "dev", "eth0");
      own.reverse();
    },
  };
}

const insideOf = (namespace: string): readonly string[] => ["ip", "netns", "exec", namespace];

async function ip(...argv: string[]): Promise<void> {
  await run("ip", argv).output();
}

async function tc(...argv: string[]): Promise<string> {
  return await run("tc", argv).output();
}

async function namespaces(): Promise<string[]> {
  const listed = await run("ip", ["netns", "list"]).output();
  return listed.split("\n").map((line) => line.split(" ")[0] as string);
}

/** A namespace lives as long as a process in it. */
async function remove(namespace: string): Promise<void> {
  const pids = await run("ip", ["netns", "pids", namespace]).output();
  for (const pid of pids.split("\n").filter(Boolean)) kill(Number(pid));
  await ip("netns", "del", namespace);
}

async function sweep(): Promise<void> {
  for (const namespace of await namespaces()) {
    const maker = NAME.exec(namespace)?.[1];
    if (maker !== undefined && !existsSync(`/proc/${maker}`)) await remove(namespace);
  }
}

function kill(pid: number): void {
  try {
    process.kill(pid, "SIGKILL");
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== "ESRCH") throw error; // It has just ended by itself.
  }
}
