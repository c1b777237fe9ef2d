/**
 * Who may come in. One flat check before any handler, cheap enough for the hot path (a chain of middleware cost 10 %).
 *
 * A1. Host is on the allow-list, whatever the method: a page that rebinds its DNS name to us still sends its own name.
 * A2. Origin is absent or our own, Sec-Fetch-Site is absent, same-origin or none: no page of another site gets through.
 * A3. The scope comes from the record of the token presented in this request; nothing is remembered between requests.
 * A4. Wrong tokens are limited for each address before a token is looked at.
 * A5. HEAD is refused: the router would run it as GET, and a stream without a body would never end.
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
  /** For an operation whose body is the proof: what `handle` refuses as unauthorized counts like a wrong token (A4). */
  prove<T>(incoming: IncomingMessage, handle: () => Promise<T>): Promise<T>;
}

export function openGate(parts: {
  coordinator: Pick<Coordinator, "token" | "guessed">;
  hosts: ReadonlySet<string>;
  clock: Clock;
  log: Log;
}): Gate {
  const { coordinator, hosts, clock, log } = parts;
  const failures = new AuthFailures(clock);

  function checkOrigin({ headers }: IncomingMessage): void {
    const host = headers.host?.toLowerCase() ?? "";
    if (!hosts.has(host)) throw new ClusterError("misdirected", "This server does not go by the name in the Host header.");
    const { origin } = headers;
    if (origin !== undefined && origin !== `http://${host}` && origin !== `https://${host}`) {
      throw new ClusterError("forbidden", "Requests from another origin are refused.");
    }
    const site = headers["sec-fetch-site"];
    if (site !== undefined && site !== "same-origin" && site !== "none") {
      throw new ClusterError("forbidden", "Requests from another site are refused.");
    }
  }

  function checkFailures(address: string): void {
    const waitMs = failures.waitMs(address);
    if (waitMs > 0) throw new ClusterError("overloaded", "Too many wrong tokens from this address.", { retryAfterMs: waitMs });
  }

  function failed(address: string): void {
    failures.failed(address);
    if (failures.waitMs(address) === 0) return;
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

  async function prove<T>(incoming: IncomingMessage, handle: () => Promise<T>): Promise<T> {
    checkOrigin(incoming);
    const address = incoming.socket.remoteAddress ?? "";
    checkFailures(address);
    try {
      return await handle();
    } catch (error) {
      if (error instanceof ClusterError && error.code === "unauthorized") failed(address);
      throw error;
    }
  }

  return { checkOrigin, admit, prove };
}

function bearer(header: string | undefined): string | undefined {
  return header !== undefined && /^bearer /i.test(header) ? header.slice("bearer ".length).trim() : undefined;
}
