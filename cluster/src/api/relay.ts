/**
 * The front of a coordinator that stands by. What it can read in its own store it answers, everything else goes to whoever
 * leads, as it came, and the answer comes back as it is.
 *
 * R1. Nobody without a token of this cluster is relayed. What proves itself by its body (joining, sessions) is not relayed at
 *     all: the leader counts wrong proofs by address, and would count them all as this machine's.
 * R2. A request is relayed once: one that comes from a relay is answered here or refused.
 * R3. When the leader is another, or none, what is under way with the old one is cut, and its caller asks again: a connection
 *     that stands says nothing of a process that was stopped.
 * R4. Whatever of the store is answered here without a quorum's word says so: STALE_HEADER, in ms since this machine last heard of a change.
 */
import type { Agent, IncomingMessage, OutgoingHttpHeaders, ServerResponse } from "node:http";
import type { Trust } from "@openclaw-cluster/contract/client/certificate";
import { ClusterError } from "@openclaw-cluster/contract/errors";
import { OPERATIONS } from "@openclaw-cluster/contract/operations";
import type { Log } from "../system/log.ts";
import { asClusterError } from "./answers.ts";
import type { Front } from "./front.ts";
import type { Gate } from "./gate.ts";
import { refuseByPath } from "./model-front.ts";

export interface Relaying {
  /** Who leads, as far as is known. `signal` aborts when it leads no more. */
  leader(): { readonly url: string; readonly signal: AbortSignal } | undefined;
  /** Has a quorum just confirmed that what is read here is the present? Else how old it may be, in ms. Resolves within a second or so. */
  freshness(): Promise<{ readonly staleMs: number }>;
  /** Who may have certified the leader's API, where it speaks TLS. */
  readonly trust?: Trust;
}

interface RelayParts extends Relaying {
  readonly own: Front;
  readonly gate: Gate;
  readonly log: Log;
}

export const STALE_HEADER = "x-openclaw-cluster-stale-ms";
const RELAYED_HEADER = "x-openclaw-cluster-relayed";
const SOCKETS_MAX = 256;
const RETRY_MS = 500;
/** Of one connection, not of a request. */
const HOP_BY_HOP = ["connection", "keep-alive", "te", "trailer", "transfer-encoding", "upgrade", "host", "expect"];

/** Reads that need nothing but the store. */
const READS = [
  OPERATIONS.listTasks,
  OPERATIONS.getTask,
  OPERATIONS.attempts,
  OPERATIONS.deadLetters,
  OPERATIONS.result,
  OPERATIONS.nodes,
  OPERATIONS.node,
  OPERATIONS.cluster,
  OPERATIONS.health,
].map(({ path }) => formOf(path));
const PROOFS = Object.values(OPERATIONS).flatMap(({ scope, method, path }) => (scope === "proof" ? [{ method, form: formOf(path) }] : []));
/** They say nothing of tasks, and whoever probes a machine does not wait for a quorum's word. */
const PLAIN = new Set(["/healthz", "/readyz", "/metrics", "/openapi.json"]);

export function openRelay({ own, gate, leader, freshness, trust, log }: RelayParts): Front {
  const agents = new Map<string, Agent>();

  async function answerHere(incoming: IncomingMessage, outgoing: ServerResponse): Promise<void> {
    const { staleMs } = await freshness();
    if (staleMs > 0) outgoing.setHeader(STALE_HEADER, String(staleMs));
    own.serve(incoming, outgoing);
  }

  function relay(incoming: IncomingMessage, outgoing: ServerResponse): void {
    const present = leader();
    if (present === undefined) throw nobody("nobody leads at the moment");
    if (incoming.headers[RELAYED_HEADER] !== undefined) throw nobody("this machine leads no more");
    const url = new URL(incoming.url ?? "/", present.url);
    const http = process.getBuiltinModule(url.protocol === "https:" ? "node:https" : "node:http");
    const tls = trust === undefined ? {} : { ca: [...trust.authorities] };
    const agent = agents.get(url.origin) ?? new http.Agent({ keepAlive: true, maxSockets: SOCKETS_MAX, ...tls });
    agents.set(url.origin, agent);
    const request = http.request(url, { agent, method: incoming.method, headers: onward(incoming), signal: present.signal });
    request.on("response", (answer) => {
      outgoing.writeHead(answer.statusCode ?? 502, withoutHops(answer.headers));
      answer.on("error", () => outgoing.destroy());
      answer.pipe(outgoing);
    });
    request.on("error", (error: NodeJS.ErrnoException) => {
      if (outgoing.headersSent || !isUnsent(error)) return void outgoing.destroy();
      refuseByPath(incoming, outgoing, nobody(`whoever leads cannot be reached: ${error.code}`), log);
    });
    outgoing.on("close", () => request.destroy());
    incoming.pipe(request);
  }

  return {
    serve: (incoming, outgoing) => {
      try {
        const { method = "", url = "" } = incoming;
        const [path = "", query = ""] = url.split("?");
        if (PLAIN.has(path)) return own.serve(incoming, outgoing);
        if (isOwnRead(method, path, query)) return void answerHere(incoming, outgoing);
        if (PROOFS.some((one) => one.method === method.toLowerCase() && one.form.test(path))) throw nobody(elsewhere(leader()?.url));
        gate.admit(incoming, "viewer");
        relay(incoming, outgoing);
      } catch (thrown) {
        refuseByPath(incoming, outgoing, asClusterError(thrown, log), log);
      }
    },
    close: () => {
      own.close();
      for (const agent of agents.values()) agent.destroy();
    },
  };
}

function isOwnRead(method: string, path: string, query: string): boolean {
  // To wait for an end one must hear of it.
  return method === "GET" && READS.some((form) => form.test(path)) && !new URLSearchParams(query).has("wait");
}

function formOf(path: string): RegExp {
  return new RegExp(`^/api/v1${path.replaceAll(/\{\w+\}/g, "[^/]+")}$`);
}

/** By itself, and by whichever control node: clients ask another. */
function nobody(what: string): ClusterError {
  return new ClusterError("unavailable", `This control node stands by, and ${what}.`, { retryAfterMs: RETRY_MS });
}

function elsewhere(url: string | undefined): string {
  return url === undefined ? "nobody leads at the moment" : `this is answered by whoever leads, at ${url}`;
}

/** Nothing of it has arrived. */
function isUnsent({ code }: NodeJS.ErrnoException): boolean {
  return code === "ECONNREFUSED" || code === "EHOSTUNREACH" || code === "ENETUNREACH";
}

function onward({ headers }: IncomingMessage): OutgoingHttpHeaders {
  return { ...withoutHops(headers), [RELAYED_HEADER]: "1" };
}

function withoutHops(headers: IncomingMessage["headers"]): OutgoingHttpHeaders {
  return Object.fromEntries(Object.entries(headers).filter(([name]) => !HOP_BY_HOP.includes(name)));
}
