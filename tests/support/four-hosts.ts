/**
 * Four machines that are really apart: a coordinator, two workers and a stranger, each in a network namespace with an address of
 * a tailnet's range, its own loopback and its own folder. Tailscale is a stub that tells each address's owner. Commands
 * and daemons run inside; the test itself reaches a host's ports through `Host.reach`.
 */
import { readFile } from "node:fs/promises";
import path from "node:path";
import { openClient, type Client } from "@openclaw-cluster/contract/client/client";
import { nodeTransport } from "@openclaw-cluster/contract/client/node-transport";
import { run as runProgram, type ProcessEnd, type Running } from "../../scripts/child.ts";
import { runCommand } from "../../scripts/daemon.ts";
import { startCluster, type TestCluster, type TestDaemon } from "./daemon.ts";
import { openHosts, type Host, type Hosts } from "./hosts.ts";
import { RUNNING, tailscaleStub, whoisAnswer, type TailscaleStub } from "./tailscale.ts";

/** Those that docs/deployment.md names. */
export const API_PORT = 8888;
export const NATS_PORT = 4222;
export const HOST_NAMES = ["lead", "nas1", "nas2", "stranger"] as const;
export type HostName = (typeof HOST_NAMES)[number];

export interface FourHosts extends Readonly<Record<HostName, Host>> {
  readonly cluster: TestCluster;
  readonly stub: TailscaleStub;
  /** The administrator's, from the coordinator's own host. */
  readonly client: Client;
  /** Where coordinator and nats-server listen, as seen from their host. */
  readonly listensOn: string;
  /** Who has certified them, where they speak TLS; both name 127.0.0.1 too. */
  readonly ca: string | undefined;
  /** The command, on a host and in its folder. */
  run(host: HostName, ...argv: string[]): Promise<ProcessEnd>;
  /** A command that goes on, as `join` does, until it is ended; with the stage at the latest. */
  begin(host: HostName, ...argv: string[]): Running;
  /** A code that lets a machine in at once. */
  invite(): Promise<string>;
  /** The daemon of a host that has joined. */
  start(host: HostName): Promise<TestDaemon>;
  /** All of it: a code there, joined and started here. */
  join(host: HostName): Promise<TestDaemon>;
  home(host: HostName): string;
  end(): Promise<void>;
}

/** `api.host` of the coordinator. */
export type HostPlace = "tailscale" | "lan" | "127.0.0.1";

/** In the local network the hosts have these as well. */
const LAN_ADDRESSES: Readonly<Record<HostName, string>> = {
  lead: "192.168.77.1",
  nas1: "192.168.77.2",
  nas2: "192.168.77.3",
  stranger: "192.168.77.4",
};

export async function openFourHosts({ place = "tailscale", join }: { place?: HostPlace; join?: object } = {}): Promise<FourHosts> {
  const stub = tailscaleStub();
  let hosts: Hosts | undefined;
  let cluster: TestCluster | undefined;
  let client: Client | undefined;
  const begun: Running[] = [];
  const end = async (): Promise<void> => {
    for (const one of begun) await one.end();
    await client?.close();
    await cluster?.end();
    await hosts?.end();
    stub.remove();
  };
  try {
    hosts = await openHosts();
    const all = {} as Record<HostName, Host>;
    for (const name of HOST_NAMES) all[name] = await hosts.add(name, []);
    const { lead } = all;
    stub.says(tailnetOf(all));
    for (const name of HOST_NAMES) stub.knows(all[name].address, whoisAnswer({ ip: all[name].address, name, login: loginOf(name) }));
    if (place === "lan") for (const name of HOST_NAMES) await addAddress(all[name], LAN_ADDRESSES[name]);
    const listensOn = { tailscale: lead.address, lan: LAN_ADDRESSES.lead, "127.0.0.1": place }[place];
    const door = await lead.reach({ host: listensOn, port: API_PORT });
    const api = { host: place, port: API_PORT, allowedHosts: [`127.0.0.1:${door}`] };
    const settings = { api, nats: { port: NATS_PORT }, ...(join && { join }) };
    cluster = await startCluster(settings, { manner: { under: lead.inside, env: stub.env } });
    const { folder, lead: daemon, startHome } = cluster;
    const ca = place === "lan" ? await readFile(path.join(daemon.home, "data", "authority.pem"), "utf8") : undefined;
    const scheme = ca === undefined ? "http" : "https";
    const transport = nodeTransport(ca === undefined ? undefined : { authorities: [ca], file: "authority.pem" });
    client = openClient({ url: `${scheme}://127.0.0.1:${door}`, token: cluster.token, transport });
    const home = (host: HostName): string => (host === "lead" ? daemon.home : path.join(folder, host));
    const manner = (host: HostName) => ({
      under: all[host].inside,
      env: { ...stub.env, OPENCLAW_CLUSTER_HOME: home(host), OPENCLAW_CLUSTER_OPENCLAW: "off" },
    });
    const run: FourHosts["run"] = (host, ...argv) => runCommand(argv, manner(host)).ended();
    const begin: FourHosts["begin"] = (host, ...argv) => {
      const running = runCommand(argv, manner(host));
      begun.push(running);
      return running;
    };
    const invite = async (): Promise<string> =>
      (JSON.parse((await run("lead", "invite", "--approve", "--json")).stdout) as { code: string }).code;
    const start = (host: HostName): Promise<TestDaemon> => startHome(home(host), manner(host));
    return {
      ...{ ...all, cluster, stub, client, listensOn, ca, run, begin, invite, start, home, end },
      async join(host) {
        const joined = await run(host, "join", "--no-start", await invite(), "--node-id", host);
        if (joined.code !== 0) throw new Error(`${host} did not join: ${joined.stderr}`);
        return start(host);
      },
    };
  } catch (error) {
    await end();
    throw error;
  }
}

async function addAddress({ inside }: Host, address: string): Promise<void> {
  const argv = [...inside, "ip", "address", "add", `${address}/24`, "dev", "eth0"];
  await runProgram(argv[0] as string, argv.slice(1)).output();
}

/** Who owns it, by Tailscale's word. */
export const loginOf = (host: HostName): string => (host === "stranger" ? "eve@example.com" : "ann@example.com");

/** As the coordinator's Tailscale tells of them. */
function tailnetOf(hosts: Readonly<Record<HostName, Host>>): object {
  const of = (name: HostName): object => ({
    ...RUNNING.Peer["nodekey:02"],
    ...{ HostName: name, DNSName: `${name}.tail1a2b3.ts.net.`, TailscaleIPs: [hosts[name].address], Online: true },
  });
  const peers = HOST_NAMES.filter((name) => name !== "lead").map((name) => [`nodekey:${name}`, of(name)]);
  return { ...RUNNING, TailscaleIPs: [hosts.lead.address], Self: of("lead"), Peer: Object.fromEntries(peers) };
}
