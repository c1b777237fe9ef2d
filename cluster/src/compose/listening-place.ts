/**
 * Where a coordinator listens, from what its settings say. `api.host: tailscale` is this machine's address in the tailnet,
 * asked of Tailscale at each start.
 *
 * L1. The API and nats-server listen on one address: whoever reaches one must reach the other.
 * L2. What passes by itself is waited for: at the machine's start Tailscale is often not up yet, or has no address yet, and a
 *     daemon that ended then would not come back. What only a person can change ends the start.
 */
import { networkInterfaces } from "node:os";
import { ClusterError } from "@openclaw-cluster/contract/errors";
import { reachOf } from "../system/address.ts";
import { TAILSCALE } from "../system/config-schema.ts";
import { askTailscale, tailnetAddress, tailscaleAdvice, tailscaleState, type Tailscale } from "../system/tailscale.ts";
import type { Ground } from "./ground.ts";
import { waitPatiently } from "./patience.ts";

export interface ListeningPlace {
  readonly apiHost: string;
  readonly busHost: string;
  /** Names that lead here, for the Host header and for invitations. */
  readonly names: readonly string[];
}

export interface PlaceParts extends Pick<Ground, "env" | "signal" | "log" | "progress"> {
  readonly host: string;
  /** This machine's own addresses, and the time that passes, unless a test has its own. */
  readonly addresses?: () => readonly string[];
  readonly pause?: (ms: number, signal: AbortSignal) => Promise<unknown>;
}

/** Throws config_invalid where Tailscale is not installed, and the reason of `signal`. */
export async function findListeningPlace(parts: PlaceParts): Promise<ListeningPlace> {
  const { host, env, log, signal, progress, addresses = ownAddresses, pause } = parts;
  if (reachOf(host) === "loopback") return { apiHost: host, busHost: "127.0.0.1", names: [] };
  if (host !== TAILSCALE) {
    const found = await askTailscale({ env });
    return { apiHost: host, busHost: host, names: namesOf(found, host) };
  }
  const wait = { whom: "Tailscale", log, signal, tell: progress, random: Math.random, ...(pause !== undefined && { pause }) };
  return waitPatiently(wait, async () => {
    const found = await askTailscale({ env });
    const address = addressOf(found, addresses());
    return { apiHost: address, busHost: address, names: namesOf(found, address) };
  });
}

function addressOf(found: Tailscale, own: readonly string[]): string {
  if (found.kind === "absent")
    throw new ClusterError("config_invalid", `api.host is ${TAILSCALE}, which is not installed here. ${tailscaleAdvice(found)}`);
  if (found.kind !== "running") throw new ClusterError("unavailable", `Tailscale ${tailscaleState(found)}. ${tailscaleAdvice(found)}`);
  const address = tailnetAddress(found);
  if (address !== undefined && own.includes(address)) return address;
  throw new ClusterError(
    "unavailable",
    `Tailscale runs, but no network interface of this machine has its address ${address} (in userspace-networking mode none ever gets it)`,
  );
}

/** A name of another address would lead to another machine. */
function namesOf(found: Tailscale, address: string): string[] {
  if (found.kind !== "running" || found.magicDnsName === undefined) return [];
  return [found.ip4, found.ip6].includes(address) ? [found.magicDnsName] : [];
}

function ownAddresses(): string[] {
  return Object.values(networkInterfaces()).flatMap((own) => (own ?? []).map(({ address }) => address));
}
