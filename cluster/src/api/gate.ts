/**
 * Who may come in. One flat check before any handler, cheap enough for the hot path (a chain of middleware cost 10 %).
 *
 * A1. There is one Host and it is on the allow-list, whatever the method: a page that rebinds its DNS name to us still sends
 *     its own name. The target is a path: one with a name of its own would be a second answer to the same question.
 * A2. Origin is absent or our own, Sec-Fetch-Site is absent, same-origin or none: no page of another site gets through.
 *     Nothing here speaks WebSocket, which knows no Sec-Fetch-Site and no preflight.
 * A3. The scope comes from the record of the token presented in this request; nothing is remembered between requests.
 * A4. Wrong tokens and proofs are limited for each address before a token or a body is looked at.
 * A5. A stream outlives its request: before each piece its token is looked up again (`mustHold`).
 * A6. HEAD is refused: the router would run it as GET, and a stream without a body would never end.
 */
import type { IncomingMessage } from "node:http";
import { ClusterError } from "@openclaw-cluster/contract/errors";
import { permits, type Scope } from "@openclaw-cluster/contract/scopes";
import type { Coordinator } from "../coordinator/coordinator.ts";
import type { ApiTokenRow } from "../store/store.ts";
import type { Clock } from "../system/clock.ts";
import type { Log } from "../system/log.ts";
import { hashToken, tokenId } from "../trust/token.ts";
import { AuthFailures } from "./auth-failures.ts";

export interface Gate {
  /** Throws unless the request comes from where it may come from (A1, A2). */
  checkOrigin(incoming: IncomingMessage): void;
  /** Throws unless it also has a token with this scope. */
  admit(incoming: IncomingMessage, scope: Scope): ApiTokenRow;
  /** Throws when this token was revoked or has expired since it was admitted (A5). */
  mustHold(token: ApiTokenRow): void;
  /**
   * For an operation whose body is the proof: what `handle` refuses as unauthorized counts like a wrong token (A4). It calls
   * `judge` for the part that looks at the proof, with the body at hand.
   */
  prove<T>(incoming: IncomingMessage, handle: (judge: Judge) => Promise<T>): Promise<T>;
}

export type Judge = <T>(look: () => Promise<T>) => Promise<T>;

export function openGate(parts: {
  coordinator: Pick<Coordinator, "token" | "guessed">;
  hosts: ReadonlySet<string>;
  clock: Clock;
  log: Log;
}): Gate {
  const { coordinator, hosts, clock, log } = parts;
  const failures = new AuthFailures(clock);

  function checkOrigin({ headers, rawHeaders, url }: IncomingMessage): void {
    const host = headers.host?.toLowerCase() ?? "";
    if (!hosts.has(host)) throw new ClusterError("misdirected", "This server does not go by the name in the Host header.");
    if (hasSecondHost(rawHeaders)) throw new ClusterError("misdirected", "This request has more than one Host header.");
    if (url?.startsWith("/") !== true) throw new ClusterError("misdirected", "Only paths are served; this is no proxy.");
    const { origin } = headers;
    if (origin !== undefined && origin !== `http://${host}` && origin !== `https://${host}`) {
      throw new ClusterError("forbidden", "Requests from another origin are refused.");
    }
    const site = headers["sec-fetch-site"];
    if (site !== undefined && site !== "same-origin" && site !== "none") {
      throw new ClusterError("forbidden", "Requests from another site are refused.");
    }
    if (headers.upgrade !== undefined && /websocket/i.test(headers.upgrade))
      throw new ClusterError("bad_request", "Nothing here speaks WebSocket; streams are server-sent events.");
  }

  function checkFailures(address: string): void {
    const waitMs = failures.waitMs(address);
    if (waitMs > 0) throw new ClusterError("overloaded", "Too many wrong tokens from this address.", { retryAfterMs: waitMs });
  }

  function failed(address: string): void {
    if (!failures.failed(address)) return;
    log.warn({ address }, "too many wrong tokens from one address; it has to wait");
    coordinator.guessed(address);
  }

  function admit(incoming: IncomingMessage, scope: Scope): ApiTokenRow {
    checkOrigin(incoming);
    const address = incoming.socket.remoteAddress ?? "";
    checkFailures(address);
    const presented = bearer(incoming.headers.authorization);
    if (presented === undefined) throw new ClusterError("unauthorized", "This request carries no token.");
    const token = tokenId(presented) === undefined ? undefined : coordinator.token(hashToken(presented));
    if (token === undefined) {
      failed(address);
      throw new ClusterError("unauthorized", "This token is unknown, revoked or expired.");
    }
    if (!permits(token.scope, scope))
      throw new ClusterError("forbidden", `This needs the scope ${scope}; the token's scope is ${token.scope}.`);
    if (incoming.method === "HEAD") throw new ClusterError("method_not_allowed", "HEAD is not served; use GET.");
    return token;
  }

  function mustHold({ hash }: ApiTokenRow): void {
    if (coordinator.token(hash) === undefined) throw new ClusterError("unauthorized", "This token was revoked or has expired.");
  }

  async function prove<T>(incoming: IncomingMessage, handle: (judge: Judge) => Promise<T>): Promise<T> {
    checkOrigin(incoming);
    const address = incoming.socket.remoteAddress ?? "";
    checkFailures(address);
    return handle(async (look) => {
      // Others of this address may have failed while the body came.
      checkFailures(address);
      const underWay = failures.begin(address);
      try {
        return await look();
      } catch (error) {
        if (error instanceof ClusterError && error.code === "unauthorized") failed(address);
        throw error;
      } finally {
        underWay.end();
      }
    });
  }

  return { checkOrigin, admit, mustHold, prove };
}

/** Of two, node shows the first, and whoever stands in front may have gone by the other. */
function hasSecondHost(rawHeaders: readonly string[]): boolean {
  let count = 0;
  for (let at = 0; at < rawHeaders.length; at += 2) {
    const name = rawHeaders[at] as string;
    if (name.length === 4 && name.toLowerCase() === "host") count += 1;
  }
  return count > 1;
}

function bearer(header: string | undefined): string | undefined {
  return header !== undefined && /^bearer /i.test(header) ? header.slice("bearer ".length).trim() : undefined;
}
