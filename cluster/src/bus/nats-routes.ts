/**
 * How the nats-servers of a cluster find one another: each calls the others at their routes. What goes over a route is every node's,
 * so a stranger there would be worse than one among the clients.
 *
 * R1. A route wants two things of who calls: a certificate of the cluster's authority that was made for callers (an API's or a
 *     client port's is none), and the password that the control nodes share. Who is called shows its certificate as well.
 * R2. Clients hear of no other server from a server: they have the addresses from their coordinator, which knows over which one
 *     each machine is reached.
 * R3. A server's name is the same for good: JetStream knows the members of its groups by nothing else, and would wait for the old one.
 */
import { ClusterError } from "@openclaw-cluster/contract/errors";
import { bracketed } from "../system/address.ts";
import type { ServerCertificate } from "../trust/authority.ts";
import { quote } from "./nats-quote.ts";

/** Where another server of the cluster is called. */
export interface Route {
  readonly host: string;
  readonly port: number;
}

/** What makes a server one of several. */
export interface NatsCluster {
  /** The same for all of them. */
  readonly name: string;
  /** R3; no other server's. */
  readonly serverName: string;
  /** Where the others call this one. */
  readonly host: string;
  readonly port: number;
  /** The others. */
  readonly routes: readonly Route[];
  /** The same for all of them; base64url, 32 characters at least. */
  readonly password: string;
  /** `certifyPeer`'s, for the address at which the others call. */
  readonly certificate: ServerCertificate;
}

export interface RouteFiles {
  /** Chain and key. */
  readonly certificate: string;
  readonly authority: string;
}

const USER = "route";
const PASSWORD = /^[A-Za-z0-9_-]{32,128}$/;
/** What JetStream takes for a name in its groups, and a configuration for one word. */
const NAME = /^[A-Za-z0-9_-]{1,64}$/;
const HOST = /^[A-Za-z0-9.:_-]{1,255}$/;
const PORT_MAX = 65_535;

/** Two servers need one connection for the nodes' account; the system account has its own by itself. */
const POOL = "pool_size: 1";

export function clusterBlock(cluster: NatsCluster, files: RouteFiles): string[] {
  checkCluster(cluster);
  const routes = [...cluster.routes].map((route) => quote(`tls://${USER}:${cluster.password}@${placeOf(route)}`)).sort();
  const tls = [
    `cert_file: ${quote(files.certificate)}`,
    `key_file: ${quote(files.certificate)}`,
    `ca_file: ${quote(files.authority)}`,
    // R1
    "verify: true",
    'min_version: "1.2"',
    "timeout: 3",
  ];
  const lines = [
    `name: ${quote(cluster.name)}`,
    `listen: ${quote(placeOf(cluster))}`,
    // R2
    "no_advertise: true",
    POOL,
    `authorization { user: ${USER}, password: ${quote(cluster.password)}, timeout: 3 }`,
    "tls {",
    ...tls.map((line) => `  ${line}`),
    "}",
    `routes: [ ${routes.join(", ")} ]`,
  ];
  return [`server_tags: [ ${quote(tagOf(cluster.serverName))} ]`, "cluster {", ...lines.map((line) => `  ${line}`), "}"];
}

/** By it a stream is told where to begin. */
export const tagOf = (serverName: string): string => `server:${serverName}`;

const placeOf = ({ host, port }: Route): string => `${bracketed(host)}:${port}`;

/** Throws config_invalid. */
export function checkCluster({ name, serverName, password, host, port, routes }: NatsCluster): void {
  for (const word of [name, serverName])
    if (!NAME.test(word))
      throw new ClusterError("config_invalid", `${JSON.stringify(word)} is no name for a cluster or a server of the bus`);
  // Not shown: it may be one with a slip in it.
  if (!PASSWORD.test(password)) throw new ClusterError("config_invalid", "the password of the bus's routes is not one");
  const places = [{ host, port }, ...routes];
  for (const place of places) {
    if (!HOST.test(place.host) || !Number.isSafeInteger(place.port) || place.port < 1 || place.port > PORT_MAX)
      throw new ClusterError("config_invalid", `${JSON.stringify(place.host)}:${place.port} is no address of a server of the bus`);
  }
  if (new Set(places.map(placeOf)).size < places.length)
    throw new ClusterError("config_invalid", `two servers of the bus at one address: ${places.map(placeOf).join(", ")}`);
}
