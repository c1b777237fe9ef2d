/**
 * Who may come in. One flat check before any handler, cheap enough for the hot path (a chain of middleware cost 10 %).
 *
 * A1. It was sent to us by our own name, by no page of another site: origin.ts, before all else and whatever the method.
 * A2. The scope comes from the record of the token presented in this request; nothing is remembered between requests.
 * A3. Wrong tokens and proofs are limited for each address before a token or a body is looked at.
 * A4. A stream outlives its request: before each piece what was presented is looked up again (`mustHold`), and not the token that
 *     it was found to be: that one may have another secret by then.
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
import { checkOrigin } from "./origin.ts";

export interface Gate {
  /** Throws unless the request comes from where it may come from (A1). */
  checkOrigin(incoming: IncomingMessage): void;
  /** Throws unless it also has a token with this scope. */
  admit(incoming: IncomingMessage, scope: Scope): ApiTokenRow;
  /** As `admit`; `mustHold` throws once what this request has presented opens nothing any more (A4). */
  admitStream(incoming: IncomingMessage, scope: Scope): { readonly token: ApiTokenRow; mustHold(): void };
  /**
   * For an operation whose body is the proof: what `handle` refuses as unauthorized counts like a wrong token (A3). It calls
   * `judge` for the part that looks at the proof, with the body at hand. What is found good is told by `proven`: the rest can
   * take a minute, and counts for nothing, or a few honest machines behind one address would shut each other out.
   */
  prove<T>(incoming: IncomingMessage, handle: (judge: Judge) => Promise<T>): Promise<T>;
}

export type Judge = <T>(look: (proven: () => void) => Promise<T>) => Promise<T>;

export function openGate(parts: {
  coordinator: Pick<Coordinator, "token" | "guessed">;
  hosts: ReadonlySet<string>;
  clock: Clock;
  log: Log;
}): Gate {
  const { coordinator, hosts, clock, log } = parts;
  const failures = new AuthFailures(clock);

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
    checkOrigin(incoming, hosts);
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

  function admitStream(incoming: IncomingMessage, scope: Scope): { token: ApiTokenRow; mustHold(): void } {
    const token = admit(incoming, scope);
    const presented = hashToken(bearer(incoming.headers.authorization) ?? "");
    return {
      token,
      mustHold() {
        if (coordinator.token(presented) === undefined) throw new ClusterError("unauthorized", "This token was revoked or has expired.");
      },
    };
  }

  async function prove<T>(incoming: IncomingMessage, handle: (judge: Judge) => Promise<T>): Promise<T> {
    checkOrigin(incoming, hosts);
    const address = incoming.socket.remoteAddress ?? "";
    checkFailures(address);
    return handle(async (look) => {
      // Others of this address may have failed while the body came.
      checkFailures(address);
      const underWay = failures.begin(address);
      let isProven = false;
      const proven = (): void => {
        isProven = true;
        underWay.end();
      };
      try {
        return await look(proven);
      } catch (error) {
        if (!isProven && error instanceof ClusterError && error.code === "unauthorized") failed(address);
        throw error;
      } finally {
        underWay.end();
      }
    });
  }

  return { checkOrigin: (incoming) => checkOrigin(incoming, hosts), admit, admitStream, prove };
}

function bearer(header: string | undefined): string | undefined {
  return header !== undefined && /^bearer /i.test(header) ? header.slice("bearer ".length).trim() : undefined;
}
