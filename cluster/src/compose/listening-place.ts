/**
 * Where a coordinator listens, from what its settings say. `api.host: tailscale` is this machine's address in the tailnet, asked
 * of Tailscale at each start; `api.host: lan` the one in the network around it.
 *
 * L1. The API and nats-server listen on one address: whoever reaches one must reach the other.
 * L2. What passes by itself is waited for: at the machine's start Tailscale or the network is often not up yet, or has no
 *     address yet, and a daemon that ended then would not come back. What only a person can change ends the start.
 * L3. Off the loopback and the tailnet both speak TLS, whatever the settings say. An address is the tailnet's where Tailscale runs
 *     here and calls it this machine's own; that it lies in the tailnets' range says nothing, for providers use that range too.
 */
import { hostname } from "node:os";
import { ClusterError } from "@openclaw-cluster/contract/errors";
import { isEvery, isSameAddress, reachOf } from "../system/address.ts";
import { LAN, TAILSCALE } from "../system/config-schema.ts";
import { outwardAddresses, ownAddresses, privateAddresses, type OwnAddress } from "../system/own-addresses.ts";
import { askTailscale, isOwnAddress, tailnetAddress, tailscaleAdvice, tailscaleState, type Tailscale } from "../system/tailscale.ts";
import type { Ground } from "./ground.ts";
import { waitPatiently } from "./patience.ts";

/** A join code holds eight, a name among them. */
const ADDRESSES_MAX = 7;

export interface ListeningPlace {
  readonly apiHost: string;
  readonly busHost: string;
  readonly tls: boolean;
  /** Where other machines find it, likeliest first. */
  readonly addresses: readonly string[];
  /** Names that lead here, for the Host header and for invitations. */
  readonly names: readonly string[];
}

export interface PlaceParts extends Pick<Ground, "env" | "signal" | "log" | "progress"> {
  readonly host: string;
  /** This machine's own addresses, those with the default route, and the time that passes, unless a test has its own. */
  readonly addresses?: () => readonly OwnAddress[];
  readonly outward?: () => Promise<readonly string[]>;
  readonly pause?: (ms: number, signal: AbortSignal) => Promise<unknown>;
}

/** Throws config_invalid where only a person can help, and the reason of `signal`. */
export async function findListeningPlace(parts: PlaceParts): Promise<ListeningPlace> {
  const { host, env, log, signal, progress, addresses = ownAddresses, outward = outwardAddresses, pause } = parts;
  if (reachOf(host) === "loopback") return { apiHost: host, busHost: "127.0.0.1", tls: false, addresses: [host], names: [] };
  const isTailnets = host === TAILSCALE || reachOf(host) === "tailnet";
  const whom = isTailnets ? "Tailscale" : host === LAN ? "an address in the local network" : undefined;
  if (whom === undefined) return placeAt(host, await askTailscale({ env }), addresses());
  const wait = { whom, log, signal, tell: progress, random: Math.random, ...(pause !== undefined && { pause }) };
  return waitPatiently(wait, async () => {
    if (host === LAN) return placeAt(lanAddress(addresses(), await outward()), { kind: "absent" }, addresses());
    const found = await askTailscale({ env });
    const own = addresses().map(({ address }) => address);
    return placeAt(host === TAILSCALE ? addressIn(found, own) : named(host, found, own), found, addresses());
  });
}

function placeAt(host: string, tailscale: Tailscale, own: readonly OwnAddress[]): ListeningPlace {
  const addresses = isEvery(host) ? reachable(own) : [host];
  return { apiHost: host, busHost: host, tls: !isOwnAddress(tailscale, host), addresses, names: namesOf(tailscale, addresses) };
}

/** The address of the interface with the default route; without one, the only private one. */
export function lanAddress(own: readonly OwnAddress[], outward: readonly string[]): string {
  const candidates = privateAddresses(own);
  const chosen = outward.find((address) => candidates.some((one) => one.address === address));
  if (chosen !== undefined) return chosen;
  const [only, ...more] = candidates;
  if (only === undefined) throw new ClusterError("unavailable", "no network interface of this machine has a private address");
  if (more.length === 0) return only.address;
  const told = candidates.map(({ address, at }) => `${address} (${at})`).join(", ");
  throw new ClusterError(
    "config_invalid",
    `api.host is ${LAN}, and this machine has several private addresses, none of them with the default route: ${told}. Set api.host to one of them`,
  );
}

function addressIn(found: Tailscale, own: readonly string[]): string {
  if (found.kind === "absent")
    throw new ClusterError("config_invalid", `api.host is ${TAILSCALE}, which is not installed here. ${tailscaleAdvice(found)}`);
  if (found.kind !== "running") throw new ClusterError("unavailable", `Tailscale ${tailscaleState(found)}. ${tailscaleAdvice(found)}`);
  const address = tailnetAddress(found) as string;
  checkInterfaces(address, own);
  return address;
}

/** An address of the tailnets' range. Where Tailscale may yet say whether it is the tailnet's, that is waited for (L2, L3). */
function named(host: string, found: Tailscale, own: readonly string[]): string {
  if (isOwnAddress(found, host)) checkInterfaces(host, own);
  else if (found.kind !== "absent" && found.kind !== "running")
    throw new ClusterError(
      "unavailable",
      `only Tailscale can say whether ${host} is this machine's address in the tailnet, and it ${tailscaleState(found)}. ${tailscaleAdvice(found)}`,
    );
  return host;
}

function checkInterfaces(address: string, own: readonly string[]): void {
  if (own.some((one) => isSameAddress(one, address))) return;
  throw new ClusterError(
    "unavailable",
    `Tailscale runs, but no network interface of this machine has its address ${address} (in userspace-networking mode none ever gets it)`,
  );
}

/** Of a machine that listens on every address: the nearest first. The loopback leads nowhere on another machine. */
function reachable(own: readonly OwnAddress[]): string[] {
  const near = privateAddresses(own).map(({ address }) => address);
  const rest = own.map(({ address }) => address).filter((address) => !near.includes(address));
  const further = (["tailnet", "elsewhere"] as const).flatMap((reach) => rest.filter((address) => reachOf(address) === reach));
  return [...near, ...further].slice(0, ADDRESSES_MAX);
}

/** A name of another address would lead to another machine. */
function namesOf(found: Tailscale, addresses: readonly string[]): string[] {
  if (found.kind !== "running" || found.magicDnsName === undefined) return [];
  return addresses.some((address) => isOwnAddress(found, address)) ? [found.magicDnsName] : [];
}

/** What its certificate names: all that people may call it by, on this machine and on others. */
export function certifiedHosts({ addresses, names }: ListeningPlace, allowedHosts: readonly string[]): string[] {
  const allowed = allowedHosts.map((name) => URL.parse(`https://${name}`)?.hostname.replaceAll(/^\[|\]$/g, "") ?? "");
  const all = [...addresses, ...names, ...allowed, ...machineNames(), "localhost", "127.0.0.1", "::1"];
  return [...new Set(all.filter((name) => name !== ""))];
}

/** `studio.local` goes by `studio` too. */
export function machineNames(): string[] {
  const name = hostname().toLowerCase();
  return [...new Set([name, name.split(".")[0] ?? ""])].filter((one) => /^[a-z0-9]([a-z0-9.-]*[a-z0-9])?$/.test(one));
}
