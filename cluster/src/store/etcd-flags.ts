/**
 * What an etcd member is started with. Flags and no file: an etcd that does not know one of them does not start, whereas in a file
 * it would be passed over, and these are what keeps strangers out.
 *
 * F1. Both listeners speak TLS and take nobody without a certificate of etcd's own authority; peers must be members by their name too.
 * F2. Certificates are read from their files at each handshake. Chain and key lie in one file, so that they change together.
 */
import { join } from "node:path";
import { ETCD_MEMBER } from "../trust/authority.ts";

export interface MemberFiles {
  readonly data: string;
  readonly log: string;
  readonly authority: string;
  /** What its listeners show. */
  readonly server: string;
  /** What it shows where it calls. */
  readonly client: string;
}

export interface MemberFlags {
  readonly name: string;
  readonly folder: string;
  readonly clientUrl: string;
  readonly peerUrl: string;
  /** `name=url,…` of all members, this one too; counts at its first start only. */
  readonly initialCluster: string;
  readonly initialState: "new" | "existing";
  readonly token: string;
  /** The same for all members. */
  readonly heartbeatMs: number;
}

/** At the first start of a further member, and of one that comes back, everything is there already. */
export const HEARTBEAT_MS = 100;
/** etcd wants an election to take ten heartbeats or more, and a heartbeat to be about the time to the farthest member and back. */
const ELECTION_HEARTBEATS = 10;
/**
 * Half of what etcd calls the most that makes sense: a member that is replaced gets all of it over the network. The store forgets
 * finished tasks long before.
 */
const QUOTA_BYTES = 4 * 1_024 ** 3;
/**
 * etcd keeps the last so many commits in memory, and 5,000 more for members that lag, twice over in Go's heap. Its own default of
 * 100,000 is for small ones. Of 32 kB each, 16,000 commits left it with 821 MB at 5,000, with 529 MB at 1,000 (docs/decisions/0015-etcd-server.md).
 */
const SNAPSHOT_COMMITS = 1_000;
const LOG_MIB = 10;

export function filesOf(folder: string): MemberFiles {
  return {
    data: join(folder, "data"),
    // Beside etcd's working folder, which is this one: a list of outputs has no place for a comma or a drive's colon.
    log: "etcd.log",
    authority: join(folder, "authority.pem"),
    server: join(folder, "server.pem"),
    client: join(folder, "client.pem"),
  };
}

/** Names this very folder on a command line. */
export const markOf = (folder: string): string[] => ["--data-dir", filesOf(folder).data];

export function memberFlags(member: MemberFlags): string[] {
  const { authority, server, client, log } = filesOf(member.folder);
  return [
    ...["--name", member.name, ...markOf(member.folder)],
    ...["--listen-client-urls", member.clientUrl, "--advertise-client-urls", member.clientUrl],
    ...["--listen-peer-urls", member.peerUrl, "--initial-advertise-peer-urls", member.peerUrl],
    ...["--initial-cluster", member.initialCluster, "--initial-cluster-state", member.initialState],
    ...["--initial-cluster-token", member.token],
    ...["--client-cert-auth", "--trusted-ca-file", authority, "--cert-file", server, "--key-file", server],
    // The JSON gateway calls its own member like any other client. A client's certificate names no address, and so etcd asks for none.
    ...["--client-cert-file", client, "--client-key-file", client],
    ...["--peer-client-cert-auth", "--peer-trusted-ca-file", authority, "--peer-cert-file", server, "--peer-key-file", server],
    ...["--peer-client-cert-file", client, "--peer-client-key-file", client, "--peer-cert-allowed-cn", ETCD_MEMBER],
    ...["--heartbeat-interval", String(member.heartbeatMs), "--election-timeout", String(member.heartbeatMs * ELECTION_HEARTBEATS)],
    ...["--quota-backend-bytes", String(QUOTA_BYTES), "--snapshot-count", String(SNAPSHOT_COMMITS)],
    // etcd's defaults, which others may change in their builds. The rest is its default too: v2 and profiling off, no history
    // compacted by itself (the store does), 128 operations and 1.5 MiB for a transaction, metrics behind the client listener's TLS.
    ...["--strict-reconfig-check=true", "--pre-vote=true", "--enable-grpc-gateway=true"],
    ...["--log-outputs", `stderr,${log}`, "--enable-log-rotation"],
    ...["--log-rotation-config-json", JSON.stringify({ maxsize: LOG_MIB, maxbackups: 1 })],
  ];
}

/** The last complaint in what etcd wrote, for people: its lines are JSON. */
export function lastComplaint(words: string): string {
  const said = words.trim().split("\n").flatMap(complaintIn);
  return said.at(-1) ?? words.trim();
}

function complaintIn(line: string): string[] {
  try {
    const { level = "", msg = "", error = "" } = JSON.parse(line) as { level?: string; msg?: string; error?: string };
    return ["error", "fatal", "panic"].includes(level) ? [[msg, error].filter(Boolean).join(": ")] : [];
  } catch {
    // Cut at its beginning, or a panic's own words.
    return [];
  }
}
