/**
 * Who can reach a server that listens at an address. Without TLS the cluster listens only where nobody between two machines can
 * read along: on the loopback, and on the tailnet, which encrypts (DESIGN §7).
 *
 * R1. An address is parsed, never compared as text: `127.0.0.1.example.org` begins like one, and `0:0:0:0:0:0:0:1` is one.
 */
import { BlockList, isIP } from "node:net";

/** `private`: an address of a home's or an office's own network. `elsewhere`: any other, every address at once, or a name. */
export type Reach = "loopback" | "tailnet" | "private" | "elsewhere";

const LOOPBACK = new BlockList();
LOOPBACK.addSubnet("127.0.0.0", 8, "ipv4");
LOOPBACK.addAddress("::1", "ipv6");

/** Of every tailnet: https://tailscale.com/kb/1015/100.x-addresses and .../1033/ip-and-dns-addresses. */
const TAILNET = new BlockList();
TAILNET.addSubnet("100.64.0.0", 10, "ipv4");
TAILNET.addSubnet("fd7a:115c:a1e0::", 48, "ipv6");

/** RFC 1918, link-local, and IPv6's unique local addresses. */
const PRIVATE = new BlockList();
PRIVATE.addSubnet("10.0.0.0", 8, "ipv4");
PRIVATE.addSubnet("172.16.0.0", 12, "ipv4");
PRIVATE.addSubnet("192.168.0.0", 16, "ipv4");
PRIVATE.addSubnet("169.254.0.0", 16, "ipv4");
PRIVATE.addSubnet("fc00::", 7, "ipv6");

/** `host`: an address, with or without brackets, or a name; of names only `localhost` is known. */
export function reachOf(host: string): Reach {
  const address = bare(host);
  if (address.toLowerCase() === "localhost") return "loopback";
  const version = isIP(address);
  // A zone (`%eth0`) says which interface, and could be anything.
  if (version === 0 || address.includes("%")) return "elsewhere";
  const family = version === 4 ? "ipv4" : "ipv6";
  if (LOOPBACK.check(address, family)) return "loopback";
  if (TAILNET.check(address, family)) return "tailnet";
  return PRIVATE.check(address, family) ? "private" : "elsewhere";
}

/** R1. Of what is no address nothing is the same. */
export function isSameAddress(one: string, other: string): boolean {
  const [a, b] = [bare(one), bare(other)];
  if (isIP(a) === 0 || isIP(b) === 0) return false;
  const it = new BlockList();
  it.addAddress(a, isIP(a) === 4 ? "ipv4" : "ipv6");
  return it.check(b, isIP(b) === 4 ? "ipv4" : "ipv6");
}

const bare = (host: string): string => (/^\[.*\]$/.test(host) ? host.slice(1, -1) : host);

/**
 * Whoever listens there speaks TLS, or others read along. The range of a tailnet is no proof that it is one: some providers give out
 * such addresses. Whether this one is, Tailscale says (compose/listening-place.ts).
 */
export function needsTls(host: string): boolean {
  const reach = reachOf(host);
  return reach !== "loopback" && reach !== "tailnet";
}

const EVERY: Readonly<Record<string, string>> = { "0.0.0.0": "127.0.0.1", "::": "::1" };

/** Every address of this machine at once. */
export const isEvery = (host: string): boolean => Object.hasOwn(EVERY, host);

/** Where a server that listens on `host` is reached from its own machine. */
export const ownSide = (host: string): string => EVERY[host] ?? host;

/** As it stands before a port. */
export const bracketed = (host: string): string => (isIP(host) === 6 ? `[${host}]` : host);
