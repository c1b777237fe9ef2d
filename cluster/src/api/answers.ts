/**
 * What every answer of the API looks like: JSON or an RFC 9457 problem, under the same security headers. The header
 * objects are built once and never changed, because they are part of the hot path.
 */
import type { ServerResponse } from "node:http";
import { ClusterError, toProblem } from "@openclaw-cluster/contract/errors";
import { StoreBroken, StoreFenced } from "../store/store.ts";
import type { Log } from "../system/log.ts";

/** Nothing here is a page: nothing may be loaded, framed, sniffed or kept. */
export const SECURITY_HEADERS = {
  "cache-control": "no-store",
  "content-security-policy": "default-src 'none'; frame-ancestors 'none'",
  "cross-origin-resource-policy": "same-origin",
  "referrer-policy": "no-referrer",
  "x-content-type-options": "nosniff",
  "x-frame-options": "DENY",
} as const;
const JSON_HEADERS = { "content-type": "application/json", ...SECURITY_HEADERS };
const PROBLEM_HEADERS = { "content-type": "application/problem+json", ...SECURITY_HEADERS };
const TEXT_HEADERS = { "content-type": "text/plain; version=0.0.4; charset=utf-8", ...SECURITY_HEADERS };

export function json(status: number, value: unknown): Response {
  return new Response(JSON.stringify(value), { status, headers: JSON_HEADERS });
}

export function text(value: string): Response {
  return new Response(value, { status: 200, headers: TEXT_HEADERS });
}

export function problem(error: ClusterError, extra?: Readonly<Record<string, string>>): Response {
  return new Response(problemText(error), { status: error.row.status, headers: { ...problemHeaders(error), ...extra } });
}

export function problemText(error: ClusterError): string {
  return JSON.stringify(toProblem(error));
}

export function problemHeaders(error: ClusterError): Record<string, string> {
  return {
    ...PROBLEM_HEADERS,
    ...(error.code === "unauthorized" && { "www-authenticate": "Bearer" }),
    // The header counts whole seconds; rounding up never makes a caller come too early.
    ...(error.retryAfterMs !== undefined && { "retry-after": String(Math.max(1, Math.ceil(error.retryAfterMs / 1_000))) }),
  };
}

/** Whatever was thrown, as an error that may be shown. What nobody foresaw is a fault of ours: told to the log, not to the caller. */
export function asClusterError(thrown: unknown, log: Log): ClusterError {
  if (thrown instanceof ClusterError) {
    if (thrown.code === "internal") log.error({ err: thrown }, "a request failed by a fault of ours");
    return thrown;
  }
  // It is about to end, or another leads; who asks again finds the next one (a read changes nothing, and the turn has its own words).
  if (thrown instanceof StoreBroken || thrown instanceof StoreFenced)
    return new ClusterError("unavailable", "The coordinator has lost its store; it ends, and the next one goes on.", { cause: thrown });
  log.error({ err: thrown }, "a request failed by a fault of ours");
  return new ClusterError("internal", "The coordinator met a fault of its own; its log has the cause.", { cause: thrown });
}

/** Where no front answers: the whole answer, if none has begun. */
export function refuse(outgoing: ServerResponse, error: ClusterError): void {
  if (outgoing.headersSent) return void outgoing.destroy();
  outgoing.writeHead(error.row.status, { ...problemHeaders(error), connection: "close" }).end(problemText(error));
}
