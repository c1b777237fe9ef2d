/**
 * The text of nats.conf, from nothing but its arguments.
 *
 * N1. No connection without a credential: one nkey user for each node, one for the coordinator, one for this daemon in
 *     the system account; no other listener (WebSocket, MQTT, leaf node, monitoring) is opened, and that of routes only for a
 *     server that is one of several (nats-routes.ts).
 * N2. A node has no right at all in JetStream's API. Its output and blobs are plain publishes under its own id, which a
 *     stream records and acknowledges to the reply subject; so it can neither read, purge nor overwrite what others
 *     wrote. (The object store of the client library would need stream rights that reach every node's blobs.)
 * N3. The server does not check reply subjects: a node can make its streams or the coordinator answer to a foreign
 *     subject. Such an answer is never a valid message there (seals), nats.ts answers only to the sender's inbox, and no
 *     stream takes it in, because nobody can name a subject where another node's streams listen (nats-words.ts).
 * N4. Ids and keys are checked here again, because a dot, a star or a brace in one would widen what the file allows.
 */
import { ClusterError } from "@openclaw-cluster/contract/errors";
import { NodeId } from "@openclaw-cluster/contract/ids";
import { bracketed } from "../system/address.ts";
import { MESSAGE_BYTES_MAX } from "./bus.ts";
import { quote } from "./nats-quote.ts";
import { clusterBlock, type NatsCluster, type RouteFiles } from "./nats-routes.ts";
import { rightsOf } from "./subjects.ts";

export interface BusNode {
  readonly id: NodeId;
  readonly publicKey: string;
}

export interface NatsConfig {
  readonly host: string;
  readonly port: number;
  readonly serverName: string;
  /** The folder of streams, and the server's log file. */
  readonly storeFolder: string;
  readonly logFile: string;
  readonly coordinatorKey: string;
  /** This daemon's own user in the system account: reloads, and news of connections. */
  readonly systemKey: string;
  readonly nodes: readonly BusNode[];
  /** Its certificate's chain and key in one file: it speaks TLS and nothing else. */
  readonly certificateFile?: string;
  /** It is one of several. */
  readonly cluster?: NatsCluster & { readonly files: RouteFiles };
}

export const ACCOUNT = "OCX";
const USER_KEY = /^U[A-Z2-7]{55}$/;
const LIMITS = [
  `max_payload: ${MESSAGE_BYTES_MAX}`,
  // What may wait for one slow connection. A coordinator that stands still in a disk sync for a second is not too slow.
  "max_pending: 64MB",
  'write_deadline: "5s"',
  // A half-open link is noticed after three times this at the latest, 8 s being promised.
  'ping_interval: "2s"',
  "ping_max: 2",
  "authorization { timeout: 3 }",
  "max_connections: 4096",
  "max_subscriptions: 4096",
  "logfile_size_limit: 10MB",
  "logfile_max_num: 3",
];
/**
 * What streams may take of the disk is their own limits' affair (nats-shares.ts). The server only adds them up and makes no
 * stream that would go beyond this, whatever lies in it; so it stands above the shares of as many nodes as may connect.
 */
const STORE = ["sync_interval: always", "max_file: 1TB", "max_mem: 64MB"];
/**
 * A node may answer what it is asked, once and soon: that what was delivered to it has arrived. With two subscriptions for
 * one message on one connection the server takes the second delivery for the answer, so a node has one.
 */
const ANSWERS = 'allow_responses: { max: 1, expires: "30s" }';

/**
 * TLS first: the server does not greet in the clear, so that a stranger learns nothing, and nobody in between can have a node
 * talk without TLS.
 */
const TLS = ['min_version: "1.2"', "handshake_first: true", "timeout: 3"];

export function natsConfig(config: NatsConfig): string {
  checkUsers(config);
  const nodes = [...config.nodes].sort((a, b) => (a.id < b.id ? -1 : 1)).map(nodeUser);
  return [
    "# Written by openclaw-cluster at each start and change of nodes; edits are lost.",
    `listen: ${quote(`${bracketed(config.host)}:${config.port}`)}`,
    `server_name: ${quote(config.serverName)}`,
    `log_file: ${quote(config.logFile)}`,
    ...LIMITS,
    ...(config.certificateFile === undefined ? [] : tlsBlock(config.certificateFile)),
    ...(config.cluster === undefined ? [] : clusterBlock(config.cluster, config.cluster.files)),
    "jetstream {",
    ...[`store_dir: ${quote(config.storeFolder)}`, ...STORE].map((line) => `  ${line}`),
    "}",
    "accounts {",
    `  ${ACCOUNT} {`,
    "    jetstream: enabled",
    "    users [",
    ...[`{ nkey: ${config.coordinatorKey} }`, ...nodes].map((line) => `      ${line}`),
    "    ]",
    "  }",
    "  SYS {",
    `    users [ { nkey: ${config.systemKey} } ]`,
    "  }",
    "}",
    "system_account: SYS",
    "",
  ].join("\n");
}

function tlsBlock(file: string): string[] {
  return ["tls {", ...[`cert_file: ${quote(file)}`, `key_file: ${quote(file)}`, ...TLS].map((line) => `  ${line}`), "}"];
}

function nodeUser({ id, publicKey }: BusNode): string {
  const { publish, subscribe } = rightsOf(id);
  const list = (subjects: readonly string[]): string => `{ allow: [${subjects.map(quote).join(", ")}] }`;
  return `{ nkey: ${publicKey}, permissions { publish: ${list(publish)}, subscribe: ${list(subscribe)}, ${ANSWERS} } }`;
}

function checkUsers(config: NatsConfig): void {
  const ids = new Set<string>();
  const keys = new Set<string>();
  const check = (what: string, key: string): void => {
    if (!USER_KEY.test(key)) throw new ClusterError("config_invalid", `the public key of ${what} is not one (U…)`);
    // The server would refuse the whole file, and with it everybody.
    if (keys.has(key)) throw new ClusterError("config_invalid", `${what} has the same key as another user of the bus`);
    keys.add(key);
  };
  check("the coordinator", config.coordinatorKey);
  check("the system account", config.systemKey);
  for (const { id, publicKey } of config.nodes) {
    if (!NodeId.safeParse(id).success)
      throw new ClusterError("config_invalid", `${JSON.stringify(id)} is no node's id: 1 to 32 characters of a-z and 0-9`);
    if (ids.has(id)) throw new ClusterError("config_invalid", `node ${id} is listed twice`);
    ids.add(id);
    check(`node ${id}`, publicKey);
  }
}
