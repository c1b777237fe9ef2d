/**
 * The API's door: the HTTP server in front of the coordinator. Parses, authenticates, answers; decides nothing about
 * tasks. Plain HTTP on loopback and tailnet addresses only, anywhere else HTTPS.
 *
 * H1. No request, however slow, large or malformed, holds more than its share: each limit stands in SERVER.
 * H2. `close` ends every stream, lets running requests finish for a moment, and leaves no socket.
 * H3. With a certificate it speaks TLS 1.2 or newer and nothing else: what is no TLS is cut off unheard.
 */
import { createServer, STATUS_CODES, type IncomingMessage, type RequestListener, type Server, type ServerResponse } from "node:http";
import { createServer as createTlsServer, type Server as TlsServer } from "node:https";
import type { AddressInfo, Socket } from "node:net";
import type { Duplex } from "node:stream";
import { ClusterError } from "@openclaw-cluster/contract/errors";
import type { Coordinator } from "../coordinator/coordinator.ts";
import type { ModelAsker, ModelDesk } from "../models/models.ts";
import { bracketed, isEvery, needsTls, ownSide } from "../system/address.ts";
import type { Clock } from "../system/clock.ts";
import type { Log } from "../system/log.ts";
import type { ServerCertificate } from "../trust/authority.ts";
import { problemText } from "./answers.ts";
import { watchConnections, type Surplus } from "./connections.ts";
import { openFront, type Front } from "./front.ts";
import { openGate, type Gate } from "./gate.ts";
import { askerOf, MODELS_PREFIX, openModelFront, refuseByPath } from "./model-front.ts";
import { isLineRequest, openLine } from "./model-lines.ts";
import { openRelay, type Relaying } from "./relay.ts";

const SERVER = {
  /** From the connection's start, or the last answer's end, to the whole of the headers. */
  headersMs: 5_000,
  /** The whole request with its body: 8 MiB at 8 Mbit/s fit. */
  requestMs: 9_000,
  keepAliveMs: 5_000,
  checkEveryMs: 1_000,
  headerBytesMax: 8 * 1024,
  /** Also of those that the kernel holds until they are accepted. */
  connectionsMax: 1_024,
  /** One address leaves a quarter of them to all others. A proxy in front, as tailscale serve, is one address. */
  connectionsOfAddressMax: 768,
  /** What running requests may still take after `close`. */
  closeMs: 2_000,
} as const;

const AGAIN_MS = 500;

/** Who answers: the coordinator that leads here, or one that stands by and knows who leads. */
export interface Role {
  readonly coordinator: Coordinator;
  readonly relaying?: Relaying;
  /** Of whoever leads, for requests for models; absent where it has none. */
  readonly models?: ModelDesk;
  /** Asked at each request; false: this machine cannot be sure that it leads. A process that was stopped hears requests before its timers. */
  holds?(): boolean;
}

export interface ApiParts extends Role {
  /** Without a certificate a loopback or tailnet address. */
  readonly host: string;
  readonly certificate?: ServerCertificate;
  /** 0 for any free one. */
  readonly port: number;
  /** Further names that callers may use in the Host header, as a tailnet name. */
  readonly allowedHosts?: readonly string[];
  readonly log: Log;
  readonly clock: Clock;
}

export interface Api {
  /** As this machine reaches it. */
  readonly url: string;
  readonly port: number;
  /** From the next request on. Streams of before end; what is under way is answered still. */
  takeRole(role: Role): void;
  /** Shows this one from the next connection on; only where it had one. */
  renew(certificate: ServerCertificate): void;
  close(): Promise<void>;
}

/** Throws `port_taken` or `config_invalid` when it cannot listen there. */
export async function openApi({ host, port, certificate, allowedHosts = [], log, clock, ...first }: ApiParts): Promise<Api> {
  if (certificate === undefined && needsTls(host))
    throw new ClusterError(
      "config_invalid",
      `Without a certificate the API speaks plain HTTP, so it listens on the loopback or the tailnet only, not on ${host || "every address"}.`,
    );
  const hosts = new Set<string>();
  let { coordinator, models } = first;
  // One gate for all roles: who guesses tokens starts no new count because another machine leads now.
  const tokens: Pick<Coordinator, "token" | "guessed"> = {
    token: (hash) => coordinator.token(hash),
    guessed: (address) => coordinator.guessed(address),
  };
  const gate = openGate({ coordinator: tokens, hosts, clock, log });
  const server = serverFor(certificate, (incoming, outgoing) => front.serve(incoming, outgoing));
  const surplus = watchConnections(server, {
    connectionsMax: SERVER.connectionsMax,
    ofAddressMax: SERVER.connectionsOfAddressMax,
    idleMs: SERVER.keepAliveMs,
  });
  const frontFor = (role: Role): Front => {
    const own = withModels(role, openFront({ coordinator: role.coordinator, gate, surplus, log, clock, sight: () => role.models?.sight }), {
      gate,
      surplus,
      log,
    });
    if (role.relaying !== undefined) return openRelay({ ...role.relaying, own, gate, log });
    return role.holds === undefined ? own : { ...own, serve: (incoming, outgoing) => serveWhile(role, own, incoming, outgoing, log) };
  };
  let front = frontFor(first);
  server.on("clientError", refuseMalformed);
  // No request's any more, so the server does not end them.
  const lines = new Set<Duplex>();
  server.on("upgrade", (incoming, socket, head) => {
    lines.add(socket);
    socket.on("close", () => lines.delete(socket));
    void openLine({ desk: models, coordinator, gate, log }, incoming, socket, head);
  });
  const bound = await listen(server, host, port);
  server.on("error", (error) => log.error({ err: error }, "the API's socket failed"));
  for (const name of hostNames(host, bound, allowedHosts)) hosts.add(name);
  return {
    url: `${certificate === undefined ? "http" : "https"}://${bracketed(ownSide(host))}:${bound}`,
    port: bound,
    takeRole(role) {
      front.close();
      ({ coordinator, models } = role);
      front = frontFor(role);
    },
    renew: (next) => (server as TlsServer).setSecureContext(secureContext(next)),
    async close() {
      const closed = new Promise<void>((resolve) => server.close(() => resolve()));
      front.close();
      for (const line of lines) line.destroy();
      server.closeIdleConnections();
      const force = clock.after(SERVER.closeMs, () => server.closeAllConnections());
      await closed;
      force.cancel();
    },
  };
}

/** OpenAI's API beside the cluster's own, where this machine leads. */
function withModels({ models }: Role, own: Front, { gate, surplus, log }: { gate: Gate; surplus: Surplus; log: Log }): Front {
  if (models === undefined) return own;
  const admit = (incoming: IncomingMessage): ModelAsker => {
    // Before anything is spent on it (T2 in doorkeeper.ts).
    const full = surplus.refusal(incoming);
    if (full !== undefined) throw full;
    return askerOf(gate.admit(incoming, "submitter"));
  };
  const front = openModelFront({ router: models.router, admit, log });
  return {
    ...own,
    serve: (incoming, outgoing) =>
      incoming.url?.startsWith(MODELS_PREFIX) === true ? front.serve(incoming, outgoing) : own.serve(incoming, outgoing),
  };
}

function serveWhile({ holds }: Role, own: Front, incoming: IncomingMessage, outgoing: ServerResponse, log: Log): void {
  if (holds?.() !== false) return own.serve(incoming, outgoing);
  const unsure = new ClusterError("unavailable", "This control node cannot be sure that it leads; ask again.", { retryAfterMs: AGAIN_MS });
  refuseByPath(incoming, outgoing, unsure, log);
}

function serverFor(certificate: ServerCertificate | undefined, listener: RequestListener): Server {
  const limits = {
    headersTimeout: SERVER.headersMs,
    requestTimeout: SERVER.requestMs,
    keepAliveTimeout: SERVER.keepAliveMs,
    connectionsCheckingInterval: SERVER.checkEveryMs,
    maxHeaderSize: SERVER.headerBytesMax,
    shouldUpgradeCallback: isLineRequest,
  };
  if (certificate === undefined) return createServer(limits, listener);
  return createTlsServer({ ...limits, handshakeTimeout: SERVER.headersMs, ...secureContext(certificate) }, listener);
}

function secureContext({ chain, key }: ServerCertificate): { cert: string; key: string; minVersion: "TLSv1.2" } {
  return { cert: chain, key, minVersion: "TLSv1.2" };
}

function listen(server: Server, host: string, port: number): Promise<number> {
  return new Promise((resolve, reject) => {
    const refused = (cause: NodeJS.ErrnoException): void => {
      const code = cause.code === "EADDRINUSE" || cause.code === "EACCES" ? "port_taken" : "config_invalid";
      reject(new ClusterError(code, `The API cannot listen on ${host}, port ${port} (${cause.code}).`, { cause }));
    };
    server.once("error", refused);
    server.listen({ port, host, backlog: SERVER.connectionsMax }, () => {
      server.off("error", refused);
      resolve((server.address() as AddressInfo).port);
    });
  });
}

/** What a caller on this machine or on its network writes in front of the path. */
function hostNames(host: string, port: number, allowed: readonly string[]): string[] {
  const own = isEvery(host) ? [] : [bracketed(host)];
  const local = ["127.0.0.1", "localhost", "[::1]", ...own].map((name) => `${name}:${port}`);
  return [...local, ...allowed.flatMap((name) => [name, `${name}:${port}`])].map((name) => name.toLowerCase());
}

/** Too slow, too large or not HTTP at all: answered by hand, because there is no request to answer. */
function refuseMalformed(cause: NodeJS.ErrnoException, socket: Socket): void {
  const isUnheard = cause.code === "ECONNRESET" || cause.code?.startsWith("ERR_SSL_") || cause.code?.startsWith("ERR_TLS_");
  if (!socket.writable || isUnheard) {
    socket.destroy();
    return;
  }
  const error = MALFORMED[cause.code ?? ""] ?? new ClusterError("bad_request", "This is not HTTP.");
  const body = problemText(error);
  socket.end(
    `HTTP/1.1 ${error.row.status} ${STATUS_CODES[error.row.status]}\r\ncontent-type: application/problem+json\r\ncontent-length: ${Buffer.byteLength(body)}\r\nconnection: close\r\n\r\n${body}`,
    () => socket.destroy(),
  );
}

const MALFORMED: Readonly<Record<string, ClusterError>> = {
  HPE_HEADER_OVERFLOW: new ClusterError("bad_request", `The headers are larger than ${SERVER.headerBytesMax} bytes.`),
  // Not the caller's fault for certain: a server that was busy for that long reads late. Nothing was done, so it may come again.
  ERR_HTTP_REQUEST_TIMEOUT: new ClusterError("unavailable", "The request took too long to arrive."),
};
