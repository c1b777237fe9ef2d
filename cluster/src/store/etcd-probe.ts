/**
 * An etcd that the user runs himself: nothing is started, and before the store trusts in it, it is asked whether it serves. What does
 * not is told with the next step.
 *
 * K1. Nothing is written there.
 */
import { certificateFault } from "@openclaw-cluster/contract/client/certificate";
import { ClusterError } from "@openclaw-cluster/contract/errors";
import { needsTls } from "../system/address.ts";
import { isAtLeast } from "../system/version.ts";
import { EtcdFault, OPERATIONS_MAX } from "./etcd-client.ts";
import { Endpoints, isNotLetIn, LOOK, type EndpointOptions } from "./etcd-endpoints.ts";

export interface ProbedEtcd {
  readonly version: string;
  /** Endpoints that do not serve, while another does. */
  readonly faults: readonly ClusterError[];
}

export interface ProbeOptions extends EndpointOptions {
  readonly endpoints: readonly string[];
  /** The file with etcd's authority, for people. */
  readonly authorityFile?: string;
}

const VERSION_MIN = "3.5.0";
const ANSWER_MS = 5_000;

/** Throws what is wrong where none of the endpoints serves. */
export async function probeEtcd(options: ProbeOptions): Promise<ProbedEtcd> {
  for (const endpoint of options.endpoints) checkAddress(endpoint);
  const endpoints = new Endpoints(options);
  try {
    const answers = await Promise.all(options.endpoints.map((endpoint) => probeEndpoint(endpoints, endpoint, options)));
    const faults = answers.filter((answer) => answer instanceof ClusterError);
    const [first, ...more] = answers.filter((answer): answer is Serving => !(answer instanceof ClusterError));
    if (first === undefined) throw faults[0] ?? new ClusterError("config_invalid", "no endpoint of etcd is named");
    const apart = more.find(({ cluster }) => cluster !== first.cluster);
    if (apart !== undefined)
      throw new ClusterError(
        "config_invalid",
        `${first.endpoint} and ${apart.endpoint} are not of one etcd cluster; name the members of one`,
      );
    return { version: first.version, faults };
  } finally {
    endpoints.close();
  }
}

function checkAddress(endpoint: string): void {
  const { protocol, hostname } = URL.parse(endpoint) ?? {};
  if (protocol === undefined || hostname === undefined || !["http:", "https:"].includes(protocol))
    throw new ClusterError("config_invalid", `${endpoint} is no address of etcd; write it as https://host:2379`);
  if (protocol === "http:" && needsTls(hostname))
    throw new ClusterError(
      "config_invalid",
      `${endpoint} would be read along on the way; let etcd speak TLS there (--cert-file, --key-file, --client-cert-auth), or reach it over the tailnet`,
    );
}

interface Serving {
  readonly endpoint: string;
  readonly version: string;
  readonly cluster: string;
}

async function probeEndpoint(endpoints: Endpoints, endpoint: string, options: ProbeOptions): Promise<Serving | ClusterError> {
  const ask = (path: string, body: unknown): Promise<Record<string, unknown>> =>
    endpoints.ask(path, body, { ...LOOK, endpoint, timeoutMs: ANSWER_MS });
  try {
    const status = await ask("/v3/maintenance/status", {}).catch((cause: unknown) => {
      // It needs no majority for this, and so it is the way from the gateway to the member beside it that is shut.
      if (cause instanceof EtcdFault && cause.kind === "no_quorum") throw gatewayShutOut(endpoint, cause);
      if (!(cause instanceof EtcdFault) || cause.kind !== "refused") throw cause;
      // There is nothing in the question that could be wrong, but that nobody's name came with it.
      throw cause.grpcCode === undefined ? noGateway(endpoint, cause) : wantsName(endpoint, cause);
    });
    const { version = "", header } = status as { version?: string; header?: { cluster_id?: string } };
    const cluster = header?.cluster_id;
    if (cluster === undefined) return noGateway(endpoint);
    if (!isAtLeast(version, VERSION_MIN))
      return new ClusterError("config_invalid", `etcd at ${endpoint} is version ${version}; ${VERSION_MIN} or newer is needed`);
    const { alarms } = (await ask("/v3/maintenance/alarm", { action: "GET" })) as { alarms?: readonly { alarm?: string }[] };
    const alarm = alarmIn(endpoint, alarms ?? []);
    if (alarm !== undefined) return alarm;
    // The largest transaction that the store uses, of reads alone: etcd's majority answers it, with this side's rights.
    const look = { request_range: { key: Buffer.from("openclaw-cluster").toString("base64"), count_only: true } };
    await ask("/v3/kv/txn", { success: Array.from({ length: OPERATIONS_MAX }, () => look) });
    return { endpoint, version, cluster };
  } catch (error) {
    return explained(error, endpoint, options);
  }
}

function noGateway(endpoint: string, cause?: EtcdFault): ClusterError {
  const text = `what answers at ${endpoint} is no etcd with its JSON gateway; start etcd with --enable-grpc-gateway (its default), or correct the address`;
  return new ClusterError("config_invalid", text, { cause });
}

function gatewayShutOut(endpoint: string, cause: EtcdFault): ClusterError {
  const text =
    `the JSON gateway of etcd at ${endpoint} does not reach its own member. Where etcd wants client certificates, name one for it ` +
    "(--client-cert-file, --client-key-file), or let its server certificate be good for clients too";
  return new ClusterError("unavailable", text, { cause });
}

function wantsName(endpoint: string, cause: EtcdFault): ClusterError {
  const text = `etcd at ${endpoint} asks for a user's name; this cluster comes with a certificate only (etcdctl auth disable)`;
  return new ClusterError("unauthorized", text, { cause });
}

function alarmIn(endpoint: string, alarms: readonly { alarm?: string }[]): ClusterError | undefined {
  if (alarms.some(({ alarm }) => alarm === "CORRUPT"))
    return new ClusterError(
      "unavailable",
      `etcd at ${endpoint} has the alarm CORRUPT: its members differ; replace the one that its log names`,
    );
  if (!alarms.some(({ alarm }) => alarm === "NOSPACE")) return undefined;
  const text = `etcd at ${endpoint} has the alarm NOSPACE; make room (etcdctl compact, defrag) or raise --quota-backend-bytes, then: etcdctl alarm disarm`;
  return new ClusterError("storage_full", text);
}

function explained(error: unknown, endpoint: string, { tls: known, authorityFile = "" }: ProbeOptions): ClusterError {
  if (error instanceof ClusterError) return error;
  if (!(error instanceof EtcdFault)) throw error;
  const options = { cause: error };
  const tls = typeof known === "function" ? known() : known;
  if (error.cause instanceof Error && isNotLetIn(error.cause)) {
    const text =
      tls?.certificate === undefined ? "wants a client certificate; name one, and its key" : "does not take this client certificate";
    return new ClusterError("unauthorized", `etcd at ${endpoint} ${text}`, options);
  }
  const trust = tls?.authority === undefined ? undefined : { authorities: [tls.authority], file: authorityFile };
  const fault = certificateFault(error, endpoint, trust);
  if (fault?.code === "certificate_refused") return new ClusterError(fault.code, certificateText(error, endpoint, authorityFile), options);
  if (fault !== undefined) return fault;
  switch (error.kind) {
    case "unauthorized":
      return wantsName(endpoint, error);
    case "refused":
      return new ClusterError(
        "config_invalid",
        `etcd at ${endpoint} refuses ${OPERATIONS_MAX} operations at once; leave --max-txn-ops at its default of ${OPERATIONS_MAX} or above`,
        options,
      );
    default:
      return new ClusterError("unavailable", `etcd at ${endpoint} does not serve: ${error.message}`, options);
  }
}

/** OpenSSL's, for an answer in the clear. */
const NO_TLS: ReadonlySet<string> = new Set(["ERR_SSL_WRONG_VERSION_NUMBER", "ERR_SSL_PACKET_LENGTH_TOO_LONG"]);

function certificateText({ cause }: EtcdFault, endpoint: string, authorityFile: string): string {
  if (NO_TLS.has((cause as NodeJS.ErrnoException).code ?? ""))
    return `what answers at ${endpoint} does not speak TLS. Is its address http://?`;
  const who = authorityFile === "" ? "anybody whom this machine trusts" : `the authority in ${authorityFile}`;
  return `etcd at ${endpoint} is not certified by ${who}, or not for that address; name the file with the authority that etcd was given`;
}
